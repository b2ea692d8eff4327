// Markdown of a model to HTML that can do nothing. A model's text is hostile: what it read may have told it what to write.
//
// Deliberately absent: pictures (one remote address is a message to a stranger), styles, forms, frames, and links that
// go anywhere. A link shows where it points, and a press copies it.

import DOMPurify, { type Config } from "dompurify";
import { Marked, type MarkedExtension, type Tokens } from "marked";
import { highlight } from "./highlight";

const FLAVOUR: MarkedExtension = {
  gfm: true,
  breaks: false,
  renderer: {
    image({ text }: Tokens.Image) {
      return `<span class="no-picture">[Picture: ${escape(text === "" ? "no description" : text)}]</span>`;
    },
    checkbox({ checked }: Tokens.Checkbox) {
      return checked ? "\u2611 " : "\u2610 ";
    },
    code({ text, lang }: Tokens.Code) {
      return `<pre><code>${highlight(text, lang ?? "")}</code></pre>`;
    },
  },
};
const marked = new Marked(FLAVOUR);

/**
 * A model's card is half HTML: frames for pictures, styles, scripts. Its text stays and its tags go before anything
 * parses them, so that the page's policy has nothing to refuse.
 */
const cards = new Marked(FLAVOUR, {
  renderer: {
    html({ text }: Tokens.HTML | Tokens.Tag) {
      return text
        .replace(/<!--[\s\S]*?(-->|$)/g, "")
        .replace(/<(script|style|svg|math|template)\b[\s\S]*?(<\/\1\s*>|$)/gi, "")
        .replace(/<br\b[^>]*>/gi, "\n")
        .replace(/<[^>]*(>|$)/g, "");
    },
  },
});

const ALLOWED: Config = {
  ALLOWED_TAGS: [
    "p", "br", "hr", "strong", "em", "del", "code", "pre", "span", "ul", "ol", "li", "blockquote", "a", "kbd", "sub", "sup",
    "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td",
  ],
  ALLOWED_ATTR: ["href", "class", "start"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  // A number is no address; without this the pattern below would be asked of it.
  ADD_URI_SAFE_ATTR: ["start"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
};

/** Classes that this file and the highlighter write; any other would let a reply dress up as a part of the window. */
const OWN_CLASS = /^(hljs-[a-z_-]+|no-picture|[a-z]+_)$/;

let purifier: ReturnType<typeof DOMPurify> | null = null;

function purify(html: string): string {
  if (purifier === null) {
    purifier = DOMPurify(window);
    purifier.addHook("afterSanitizeAttributes", (element) => {
      const classes = element.getAttribute("class");
      if (classes !== null) {
        const kept = classes.split(/\s+/).filter((c) => OWN_CLASS.test(c));
        if (kept.length === 0) element.removeAttribute("class");
        else element.setAttribute("class", kept.join(" "));
      }
      if (element.tagName !== "A") return;
      const href = element.getAttribute("href");
      // Without an address there is nothing to follow, by click, drag, middle button or keyboard.
      element.removeAttribute("href");
      if (href === null) return;
      element.setAttribute("data-link", href);
      element.setAttribute("role", "button");
      element.setAttribute("tabindex", "0");
      element.setAttribute("rel", "noopener noreferrer nofollow");
      element.setAttribute("aria-label", `${element.textContent}, copy the link ${href}`);
      const shown = target(href);
      if (!element.textContent.includes(shown)) {
        const where = element.ownerDocument.createElement("span");
        where.className = "target";
        where.textContent = ` (${shown})`;
        element.append(where);
      }
    });
  }
  return purifier.sanitize(html, ALLOWED);
}

function target(href: string): string {
  try {
    const url = new URL(href);
    // The host as it is really resolved: a look-alike letter shows as xn--.
    return url.protocol === "mailto:" ? url.pathname : url.host;
  } catch {
    return href;
  }
}

/** The one way from a model's text to HTML. */
export function proseHtml(raw: string): string {
  return purify(marked.parse(raw, { async: false }));
}

/** A paragraph of so many signs is none: the time for one grows with its square, and a card may hold the window up. */
const LONGEST = 6_000;

/** The same for what a publisher says of a model. What would take too long, or nests too deep, stands as it was written. */
export function cardHtml(raw: string): string {
  const html: string[] = [];
  let run: string[] = [];
  const flush = (): void => {
    const text = run.join("\n\n");
    run = [];
    try {
      html.push(cards.parse(text, { async: false }));
    } catch {
      html.push(asWritten(text));
    }
  };
  for (const block of raw.replaceAll("\r\n", "\n").split(/\n[ \t]*\n/)) {
    if (block.length <= LONGEST) {
      run.push(block);
      continue;
    }
    flush();
    html.push(asWritten(block));
  }
  flush();
  return purify(html.join("\n"));
}

function asWritten(text: string): string {
  return `<pre>${escape(text)}</pre>`;
}

/** A fenced block's inside. */
export function codeHtml(text: string, lang: string): string {
  return purify(highlight(text, lang));
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
