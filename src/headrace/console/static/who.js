// Who looks at this page, what his roles let him do, and what to do without a session.

import { get, send } from "./api.js";
import { byId, copyable, el, refresh } from "./dom.js";
import { clip } from "./words.js";

/** As `headrace.access.ROLES`; a test compares the two. It only hides buttons: the server decides. */
const ROLES = {
  operator: ["operate"],
  admin: ["ingest", "predict", "teach", "read", "write", "share", "manage"],
  developer: ["ingest", "predict", "teach", "read", "write"],
  viewer: ["predict", "read"],
  service: ["ingest", "predict", "teach", "read", "write"],
  device: ["ingest", "predict"],
};
const AGAIN = 15_000;

const who = { known: null, absent: false, locked: false, asking: null, timer: null, onopen: () => {}, onlocked: () => {} };

export const me = () => who.known;
export const mine = ({ company }) => who.known !== null && who.known.company === company;
export const may = (action) => Boolean(who.known?.roles.some((role) => ROLES[role]?.includes(action)));
export const locked = () => who.locked;

/** Ask the platform; a second call while the first is under way waits for that. */
export function ask() {
  if (who.absent) return Promise.resolve();
  who.asking ??= fetchWho().finally(() => { who.asking = null; });
  return who.asking;
}

async function fetchWho() {
  try {
    const known = await get("/whoami");
    const changed = JSON.stringify(known) !== JSON.stringify(who.known);
    who.known = known;
    if (who.locked) unlock();
    paint();
    if (changed) dispatchEvent(new Event("headrace:who"));
  } catch (error) {
    if (error.status !== 404) return;
    who.absent = true; // a platform that shares nothing
    byId("views").hidden = true;
  }
}

function paint() {
  const { company, subject, kind, roles } = who.known;
  byId("who").hidden = false;
  refresh(byId("who"), [company, subject, kind, roles], () => [
    el("span", { title: `${subject} of ${company}: ${roles.join(", ")}` }, el("b", {}, clip(company, 40)), ` · ${kind === "install" ? "this computer" : clip(subject, 40)}`,
      el("span", { class: "roles" }, ` (${clip(roles.join(", ") || "no role", 60)})`)),
    el("button", { type: "button", class: "quiet", "data-keep": "logout", onclick: leave }, "Log out"),
  ]);
}

async function leave() {
  try {
    await send("POST", "/logout");
  } catch (error) {
    if (error.status !== 401) console.info(`log out: ${error.message}`);
  }
  lock(true);
}

/** Nothing of the page without a session: a sentence that says how to get one. */
function lock(left = false) {
  if (who.locked) return;
  who.locked = true;
  who.known = null;
  byId("who").hidden = true;
  document.body.classList.add("closed");
  byId("locked").hidden = false;
  refresh(byId("locked"), left, () => [
    el("h1", {}, left ? "You have logged out" : "This page asks who you are"),
    el("p", {}, "Open the link that this command prints; it works once, in this browser:"),
    copyable("headrace open", "the command"),
    el("p", {}, "Run it where Headrace runs, or after “headrace login --url ADDRESS” on your own computer. This page goes on by itself as soon as the link has been opened."),
    el("p", {}, "With a name and password: ", el("a", { href: "/login" }, "sign in here"), "."),
  ]);
  who.onlocked();
  waitForSession();
}

function unlock() {
  who.locked = false;
  clearInterval(who.timer);
  document.body.classList.remove("closed");
  byId("locked").hidden = true;
  who.onopen();
}

function waitForSession() {
  clearInterval(who.timer);
  who.timer = setInterval(() => { if (!document.hidden) ask(); }, AGAIN);
}

/** `onopen` when there is a session again, `onlocked` when there is none. */
export function wire(onopen, onlocked) {
  Object.assign(who, { onopen, onlocked });
  addEventListener("headrace:locked", () => lock());
  document.addEventListener("visibilitychange", () => { if (who.locked && !document.hidden) ask(); });
  addEventListener("focus", () => { if (who.locked) ask(); });
}
