/** The arrows of a row of tabs: the next one is chosen and gets the focus, round the ends. */
export function arrows<T extends string>(
  event: KeyboardEvent & { readonly currentTarget: HTMLElement },
  tabs: readonly { readonly id: T }[],
  selected: T,
  onselect: (id: T) => void,
): void {
  const at = tabs.findIndex((t) => t.id === selected);
  const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
  const to = tabs[(at + step + tabs.length) % tabs.length];
  if (step === 0 || to === undefined) return;
  event.preventDefault();
  onselect(to.id);
  event.currentTarget.querySelector<HTMLElement>(`[data-tab="${to.id}"]`)?.focus();
}
