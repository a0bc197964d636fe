// A question before something that cannot be undone.

import { el } from "./dom.js";

/** True when the reader confirms; Escape, or a click beside it, is a no. The focus goes back to where it was.
 * With a `field` ({ label, most, optional }) the answer is what was typed there: at least a letter, unless it is optional. */
export function confirmed({ title, words, action, field, harmless }) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const keep = before?.dataset?.keep;
    const no = el("button", { type: "button", class: "quiet", onclick: () => dialog.close("no") }, harmless ? "Not now" : "Keep it as it is");
    const input = field ? el("input", { id: "ask-field", maxlength: field.most, autocomplete: "off" }) : null;
    const agree = () => {
      if (input && !field.optional && !input.value.trim()) input.focus();
      else dialog.close("yes");
    };
    input?.addEventListener("keydown", (event) => { if (event.key === "Enter") agree(); });
    const yes = el("button", { type: "button", class: harmless ? "quiet strong" : "danger", onclick: agree }, action);
    const dialog = el("dialog", { class: "ask", "aria-labelledby": "ask-title" },
      el("h2", { id: "ask-title" }, title), words.map((text) => el("p", {}, text)), input ? el("p", { class: "field" }, el("label", { for: "ask-field" }, field.label), input) : null, el("div", { class: "buttons" }, no, yes));
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close("no"); });
    const leave = () => dialog.close("no"); // the reader went elsewhere
    addEventListener("hashchange", leave);
    dialog.addEventListener("close", () => {
      removeEventListener("hashchange", leave);
      dialog.remove();
      const target = before?.isConnected ? before : keep ? document.querySelector(`[data-keep="${CSS.escape(keep)}"]`) : null;
      target?.focus({ preventScroll: true });
      resolve(dialog.returnValue === "yes" && (input ? input.value.trim() : true));
    });
    document.body.append(dialog);
    dialog.showModal();
    (input || no).focus();
  });
}
