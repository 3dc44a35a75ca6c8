// Explanations where the pointer or the keyboard is; at the foot of the screen on a phone.

import { explanationOf } from "./controls";
import { EXPLANATIONS } from "./explain";

const DELAY = 350; // milliseconds

export function makeTips(): void {
  const tip = document.getElementById("tip")!;
  let shown: HTMLElement | null = null;
  let described: Element | null = null; // what has the keyboard's focus
  let timer = 0;

  const hide = () => {
    clearTimeout(timer);
    described?.removeAttribute("aria-describedby");
    shown = described = null;
    tip.hidden = true;
  };
  const place = (owner: HTMLElement) => {
    const around = owner.getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, around.left), innerWidth - size.width - 8);
    const below = around.bottom + 8;
    const top = below + size.height < innerHeight ? below : around.top - size.height - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${Math.max(8, top)}px`;
  };
  const show = (owner: HTMLElement) => {
    if (owner === shown) return;
    hide();
    const words = explanationOf(owner.dataset.explain!, EXPLANATIONS);
    if (!words) return;
    shown = owner;
    tip.textContent = words;
    tip.hidden = false;
    place(owner);
  };
  const owner = (event: Event) => (event.target as Element).closest<HTMLElement>("[data-explain]");

  document.addEventListener("pointerover", (event) => {
    const found = owner(event);
    clearTimeout(timer);
    if (!found) hide();
    else if (event.pointerType === "mouse") timer = window.setTimeout(() => show(found), DELAY);
  });
  document.addEventListener("focusin", (event) => {
    const found = owner(event);
    if (found && found === shown) return; // a click on a label moves the focus to its input
    if (!found || !(event.target as Element).matches(":focus-visible")) return hide();
    show(found);
    described = event.target as Element;
    described.setAttribute("aria-describedby", "tip");
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("click", (event) => {
    const found = (event.target as Element).closest<HTMLElement>("figcaption[data-explain], label > span");
    const named = found?.closest<HTMLElement>("[data-explain]");
    if (named) show(named);
    else if (owner(event) !== shown) hide(); // a label's click is followed by one of its input
  });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  // The keyboard scrolls what it reaches into view.
  const scrolled = () => (shown && described ? place(shown) : hide());
  document.addEventListener("scroll", scrolled, { passive: true });
}
