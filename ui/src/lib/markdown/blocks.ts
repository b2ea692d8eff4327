// A reply as blocks. A finished block never changes, so it is drawn once; while text streams in, only the last is drawn
// again.

import { Lexer, type Token, type Tokens } from "marked";

export type Block =
  | { readonly kind: "code"; readonly lang: string; readonly text: string; readonly closed: boolean }
  | { readonly kind: "prose"; readonly raw: string };

function blockOf(token: Token): Block | null {
  if (token.type === "space") return null;
  if (token.type === "code") {
    const code = token as Tokens.Code;
    const fenced = /^ {0,3}(`{3,}|~{3,})/.exec(code.raw);
    const lang = /^[\w+#.-]+/.exec(code.lang ?? "")?.[0] ?? "";
    const closed = fenced === null || new RegExp(`\\n {0,3}${fenced[1] ?? ""}\\s*$`).test(code.raw);
    return { kind: "code", lang, text: code.text, closed };
  }
  return { kind: "prose", raw: token.raw };
}

/** Splits text that only ever grows. Text that does not begin with what came before is split anew. */
export class Splitter {
  #text = "";
  #settled: Block[] = [];
  /** Where in the text the first block begins that may still change. */
  #from = 0;

  split(text: string): readonly Block[] {
    if (!text.startsWith(this.#text)) {
      this.#settled = [];
      this.#from = 0;
    }
    this.#text = text;
    const tokens = new Lexer({ gfm: true }).lex(text.slice(this.#from));
    const raw = tokens.reduce((sum, t) => sum + t.raw.length, 0);
    // The lexer may rewrite what it reads (tabs, line ends); positions would then be off, so nothing settles.
    const exact = raw === text.length - this.#from;
    // The last block may go on, and so may the one before it: "2" after a list is a paragraph until its dot arrives.
    // What has two blocks behind it stays as it is.
    const bodies = tokens.flatMap((t, i) => (t.type === "space" ? [] : [i]));
    let settled = exact ? (bodies.at(-2) ?? 0) : 0;
    // Without a blank line between them a block may depend on the one before, so the text is cut at blank lines only.
    const apart = (i: number): boolean => {
      const before = tokens[i - 1];
      return before === undefined || before.type === "space" || /\n[ \t]*\n$/.test(before.raw);
    };
    while (settled > 0 && !apart(settled)) settled -= 1;
    const open: Block[] = [];
    tokens.forEach((token, i) => {
      const block = blockOf(token);
      if (i < settled) {
        this.#from += token.raw.length;
        if (block !== null) this.#settled.push(block);
      } else if (block !== null) {
        open.push(block);
      }
    });
    return [...this.#settled, ...open];
  }
}
