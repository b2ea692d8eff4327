import { describe, expect, it } from "vitest";
import { Splitter, type Block } from "../../src/lib/markdown/blocks";

const TEXT = `First paragraph
over two lines.

- one
- two

  still two

1. a
2. b

\`\`\`rust
fn main() {

}
\`\`\`

| a | b |
|---|---|
| 1 | 2 |

Heading
-------

    indented code

> quoted
> more

Last words.`;

const whole = (text: string): readonly Block[] => new Splitter().split(text);

describe("blocks of a reply", () => {
  it("separates code from prose", () => {
    const blocks = whole(TEXT);
    const code = blocks.find((b) => b.kind === "code");
    expect(code).toEqual({ kind: "code", lang: "rust", text: "fn main() {\n\n}", closed: true });
    expect(blocks.length).toBeGreaterThan(6);
  });

  it("text that streams in by any pieces ends as text given at once", () => {
    for (const size of [1, 2, 3, 7, 20, 101]) {
      const splitter = new Splitter();
      let seen: readonly Block[] = [];
      for (let at = size; at < TEXT.length + size; at += size) seen = splitter.split(TEXT.slice(0, at));
      expect(seen, `pieces of ${String(size)}`).toEqual(whole(TEXT));
    }
  });

  it("a block that is finished is the same object from then on, so it is not drawn again", () => {
    const splitter = new Splitter();
    const first = splitter.split("One.\n\nTwo.\n\nThree.\n\nFour")[0];
    const later = splitter.split("One.\n\nTwo.\n\nThree.\n\nFour and more.\n\nFive.")[0];
    expect(first).toBeDefined();
    expect(later).toBe(first);
  });

  it("an open fence says so", () => {
    expect(whole("```js\nlet a")).toEqual([{ kind: "code", lang: "js", text: "let a", closed: false }]);
    expect(whole("~~~\nx\n~~~")).toMatchObject([{ closed: true }]);
  });

  it("another text in its place is split anew", () => {
    const splitter = new Splitter();
    splitter.split("Old.\n\nText.\n\nHere.\n\nNow.");
    expect(splitter.split("New.")).toEqual([{ kind: "prose", raw: "New." }]);
  });

  it("survives text that the lexer rewrites", () => {
    const tabbed = "a\tb\r\n\r\n\tcode\r\n\r\nlast\n\nmore\n\nend";
    const splitter = new Splitter();
    let seen: readonly Block[] = [];
    for (let at = 1; at <= tabbed.length; at += 1) seen = splitter.split(tabbed.slice(0, at));
    expect(seen.map((b) => b.kind)).toEqual(whole(tabbed).map((b) => b.kind));
  });
});
