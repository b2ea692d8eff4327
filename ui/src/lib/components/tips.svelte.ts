// One tooltip for the window. It repeats what the element's name or description already says, so it is hidden from
// screen readers.

import type { Attachment } from "svelte/attachments";
import type { Rune } from "../hues";

export interface TipTable {
  readonly title: string;
  readonly note?: string | undefined;
  readonly rune?: { readonly rune: Rune; readonly hue: string } | undefined;
  readonly head?: readonly string[] | undefined;
  readonly rows: readonly (readonly string[])[];
  readonly sum?: readonly string[] | undefined;
  readonly foot?: string | undefined;
}

export type TipContent = string | TipTable;

interface Shown {
  readonly owner: Element;
  readonly content: TipContent;
  readonly x: number;
  readonly top: number;
  readonly bottom: number;
}

class Tips {
  shown = $state.raw<Shown | null>(null);

  show(owner: Element, content: TipContent): void {
    const box = owner.getBoundingClientRect();
    this.shown = { owner, content, x: box.left + box.width / 2, top: box.top, bottom: box.bottom };
  }

  hide(owner: Element): void {
    if (this.shown?.owner === owner) this.shown = null;
  }
}

export const tips = new Tips();

/** Shows it on hover and on keyboard focus. Nothing where there is nothing to say. */
export function tip(content: () => TipContent | null | undefined): Attachment {
  return (element) => {
    const on = (): void => {
      const said = content();
      if (said !== null && said !== undefined && said !== "") tips.show(element, said);
    };
    const focus = (): void => {
      if (element.matches(":focus-visible")) on();
    };
    const off = (): void => {
      tips.hide(element);
    };
    element.addEventListener("pointerenter", on);
    element.addEventListener("pointerleave", off);
    element.addEventListener("pointerdown", off);
    element.addEventListener("focusin", focus);
    element.addEventListener("focusout", off);
    return () => {
      off();
      element.removeEventListener("pointerenter", on);
      element.removeEventListener("pointerleave", off);
      element.removeEventListener("pointerdown", off);
      element.removeEventListener("focusin", focus);
      element.removeEventListener("focusout", off);
    };
  };
}
