// The three views of the page, named by the address: #library, #library/ID, #jobs, #jobs/ID; anything else is Streams.
// The other two are loaded when they are first opened.

import { byId, el, refresh } from "./dom.js";
import * as who from "./who.js";

const LOADERS = { library: () => import("./library.js"), jobs: () => import("./jobs.js") };
const views = { current: "streams", module: null, onstreams: () => {} };

export const current = () => views.current;

function place() {
  const [, view, id] = /^#(library|jobs)(?:\/([\w-]{1,80}))?$/.exec(location.hash) || [];
  return { view: view || "streams", id: id || "" };
}

/** Go to a view as if its link had been followed. */
export function go(view, id = "") {
  const wanted = `#${view}${id ? `/${id}` : ""}`;
  if (place().view !== view || place().id !== id) {
    history.pushState(null, "", wanted);
    show();
  }
}

let style = null;
/** The styles of the other views, with the first of them. */
function styled() {
  style ??= new Promise((resolve) => {
    const link = el("link", { rel: "stylesheet", href: "/console/hub.css", onload: resolve, onerror: resolve });
    document.head.append(link);
  });
  return style;
}

function mark({ view }) {
  for (const link of byId("views").children) {
    if (link.getAttribute("href") === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  for (const name of ["streams", "library", "jobs"]) byId(`${name}-view`).hidden = name !== view;
  document.querySelector(".skip").hidden = view !== "streams";
  byId("headline").hidden = byId("addresses").hidden = view !== "streams";
}

async function show() {
  const wanted = place();
  if (wanted.view !== views.current) views.module?.hide();
  const moved = wanted.view !== views.current;
  views.current = wanted.view;
  mark(wanted);
  if (moved) scrollTo({ top: 0 });
  if (wanted.view === "streams" || who.locked()) {
    views.module = null;
    if (wanted.view === "streams") views.onstreams();
    return;
  }
  const host = byId(`${wanted.view}-view`);
  try {
    const [module] = await Promise.all([LOADERS[wanted.view](), styled(), who.me() ? null : who.ask()]);
    const now = place();
    if (now.view !== wanted.view || now.id !== wanted.id || who.locked()) return; // the reader was faster
    views.module = module;
    module.show(host, wanted.id, moved);
  } catch (error) {
    refresh(host, error.message, () => el("p", { class: "notice", role: "alert" }, `This part of the page could not be loaded: ${error.message}. Reload the page to try again.`));
  }
}

export function wire(onstreams) {
  views.onstreams = onstreams;
  addEventListener("hashchange", show);
  addEventListener("headrace:who", () => { if (views.current !== "streams") show(); });
  addEventListener("headrace:locked", () => { views.module?.hide(); views.module = null; });
  if (place().view !== "streams") show();
}
