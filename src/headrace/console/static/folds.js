// Sections that fold. What the reader opened or closed stays so for this visit; until then, `suggest` decides.

import { byId } from "./dom.js";

const chosen = new Map();
const STORE = "headrace-folds";

function restore() {
  try {
    for (const [id, open] of Object.entries(JSON.parse(sessionStorage.getItem(STORE) || "{}"))) chosen.set(id, open === true);
  } catch { /* no storage in this browser: the choice lasts until the page is closed */ }
}

function choose(id, open) {
  chosen.set(id, open);
  try {
    sessionStorage.setItem(STORE, JSON.stringify(Object.fromEntries(chosen)));
  } catch { /* as above */ }
}

/** Watch every fold; `ontoggle(id)` is told so that charts can be drawn at their true width. */
export function watch(ontoggle) {
  restore();
  if (innerWidth < 600) byId("skill").open = false; // a long table on a small screen: the yardsticks beside the chart say the main thing
  for (const fold of document.querySelectorAll("details.fold")) {
    if (chosen.has(fold.id)) fold.open = chosen.get(fold.id);
    fold.firstElementChild.addEventListener("click", () => choose(fold.id, !fold.open));
    fold.addEventListener("toggle", () => ontoggle(fold.id));
  }
}

const SETTLING = 10_000;
const suggested = new Set();
/** Open a fold that has something in it as the page is opened, unless the reader has decided otherwise; later nothing may jump. */
export function suggest(id) {
  if (suggested.has(id) || performance.now() > SETTLING) return;
  suggested.add(id);
  if (!chosen.has(id)) byId(id).open = true;
}

/** Open it because the reader asked for it, and go there. */
export function reveal(id) {
  const fold = byId(id);
  choose(id, true);
  fold.open = true;
  fold.scrollIntoView({ block: "start" });
  fold.firstElementChild.focus({ preventScroll: true });
}
