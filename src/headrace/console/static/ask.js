// A question before something that cannot be undone.

import { el } from "./dom.js";

/** True when the reader confirms; Escape, or a click beside it, is a no. The focus goes back to where it was. */
export function confirmed({ title, words, action }) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const keep = before?.dataset?.keep;
    const no = el("button", { type: "button", class: "quiet", onclick: () => dialog.close("no") }, "Keep it as it is");
    const yes = el("button", { type: "button", class: "danger", onclick: () => dialog.close("yes") }, action);
    const dialog = el("dialog", { class: "ask", "aria-labelledby": "ask-title" },
      el("h2", { id: "ask-title" }, title), words.map((text) => el("p", {}, text)), el("div", { class: "buttons" }, no, yes));
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close("no"); });
    const leave = () => dialog.close("no"); // the reader went elsewhere
    addEventListener("hashchange", leave);
    dialog.addEventListener("close", () => {
      removeEventListener("hashchange", leave);
      dialog.remove();
      const target = before?.isConnected ? before : keep ? document.querySelector(`[data-keep="${CSS.escape(keep)}"]`) : null;
      target?.focus({ preventScroll: true });
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
    no.focus();
  });
}
