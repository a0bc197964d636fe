// Building and updating the page. Everything that comes from a device goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** Control characters as \\x17, and none of the marks that turn the direction of the text around them. */
function visible(text) {
  return text
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (mark) => `\\x${mark.charCodeAt(0).toString(16).padStart(2, "0")}`)
    .replace(/[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  const kept = children.flat().filter((child) => child !== null && child !== undefined);
  node.append(...kept.map((child) => (typeof child === "string" ? visible(child) : child)));
  return node;
}

/** An HTML element; children are nodes or strings, and strings become text. */
export function el(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

export const byId = (id) => document.getElementById(id);

/** Set text only when it differs, so that selections and screen readers are left alone. */
export function say(node, text) {
  const shown = visible(text);
  if (node.textContent !== shown) node.textContent = shown;
}

/** What finds an element again after a rebuild: its `data-keep`, its id, or name and value of a choice. */
function trace(element) {
  if (element.dataset.keep) return `[data-keep="${CSS.escape(element.dataset.keep)}"]`;
  if (element.id) return `#${CSS.escape(element.id)}`;
  return element.name ? `[name="${CSS.escape(element.name)}"][value="${CSS.escape(element.value)}"]` : null;
}

/** Rebuild `node` with `build()` only when the plain data behind it has changed; the focus stays where it was. */
const seen = new WeakMap();
export function refresh(node, data, build) {
  const print = JSON.stringify(data);
  if (seen.get(node) === print) return;
  seen.set(node, print);
  const held = node.contains(document.activeElement) && document.activeElement !== node ? trace(document.activeElement) : null;
  node.replaceChildren(...[build()].flat());
  if (held) node.querySelector(held)?.focus({ preventScroll: true });
}

/** Text in a box with a button that copies it. */
export function copyable(text, label) {
  const code = el("code", {}, text);
  const button = el("button", { type: "button", class: "copy", "aria-label": `Copy ${label}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // no clipboard on plain http from another machine
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  return el("span", { class: "copyable" }, code, button);
}

/** Radio buttons drawn as a row of tabs; arrow keys work because they are radio buttons. */
export function choices(name, options, chosen, onchange) {
  return options.map(({ value, label, mark, title }) => {
    const input = el("input", { type: "radio", name, value, onchange: () => onchange(value) });
    input.checked = value === chosen;
    return el("label", { class: "choice", title }, input, el("span", { "data-state": mark }, label));
  });
}
