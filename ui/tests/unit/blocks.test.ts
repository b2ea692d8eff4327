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

  it.each(["\n", "\n\n"])("a long list stays one list, with items parted by %j", (between) => {
    const items = Array.from({ length: 24 }, (_, i) => `${String(i + 1)}. Item number ${String(i + 1)}.`);
    const text = `Intro:\n\n${items.join(between)}\n\nEnd.`;
    for (const size of [1, 3, 5, 8]) {
      const splitter = new Splitter();
      let seen: readonly Block[] = [];
      for (let at = size; at < text.length + size; at += size) seen = splitter.split(text.slice(0, at));
      expect(seen).toEqual(whole(text));
      expect(seen).toHaveLength(3);
    }
  });

  it("any text, in any pieces, ends as text given at once", () => {
    const parts = [
      "A paragraph.", "Two\nlines.", "- a", "- b\n  more", "* c", "1. one", "2. two", "   deep", "> quoted", "# Head", "Under\n---",
      "```rs\nlet a;\n```", "```\nopen", "~~~\nx\n~~~", "    indented", "| a | b |\n|---|---|\n| 1 | 2 |", "***", "[x]: https://a.example",
      "<div>html</div>", "**bold** `code`", "",
    ];
    // Any generator will do that is the same each time.
    let seed = 20_261_121;
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((seed / 2_147_483_648) * below);
    };
    for (let run = 0; run < 400; run += 1) {
      let text = "";
      for (let n = 2 + random(10); n > 0; n -= 1) text += (parts[random(parts.length)] ?? "") + (random(3) === 0 ? "\n" : "\n\n");
      const splitter = new Splitter();
      let seen: readonly Block[] = [];
      for (let at = 0; at < text.length; ) {
        at = Math.min(text.length, at + 1 + random(9));
        seen = splitter.split(text.slice(0, at));
      }
      expect(seen, JSON.stringify(text)).toEqual(whole(text));
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
