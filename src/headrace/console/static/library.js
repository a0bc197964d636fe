// The library: datasets and models, our own and those granted to us; one of them in full at #library/ID.

import { get } from "./api.js";
import { mark } from "./anchoring.js";
import * as asset from "./asset.js";
import { deployed } from "./deployed.js";
import { choices, copyable, el, refresh, say } from "./dom.js";
import { ago, badge, busy, isModel, kindOf, ownerOf, shapeOf, sizeOf, stateOf, when } from "./hubwords.js";
import { poll } from "./poll.js";
import { uploader } from "./uploader.js";
import * as who from "./who.js";
import { bytes, clip, count, many } from "./words.js";

const PAGE = 200; // of one answer
const COUNTED = 100; // models of one answer that are looked through for snapshots
const SHOWN = 60; // rows; more on demand
const library = { parts: null, assets: [], unseen: [0, false], deployed: [], undone: "", more: false, pages: 1, loaded: false, error: "", search: "", kind: "all", owner: "all", deleted: false, snapshots: false, shown: SHOWN, poll: null, opened: "", from: "" };

// ---- asking ----------------------------------------------------------------------------------------------------------

async function everything(kind) {
  const found = [];
  let after = null;
  for (let page = 0; page < library.pages; page += 1) {
    const answer = await get(`/${kind}?${new URLSearchParams({ limit: PAGE, ...(library.deleted ? { deleted: true } : {}), ...(library.snapshots && kind === "models" ? { snapshots: true } : {}), ...(after ? { after } : {}) })}`);
    found.push(...answer.items);
    after = answer.next;
    if (!after) break;
  }
  return [found, Boolean(after)];
}

/** How many snapshots are not listed, as far as one answer tells: [how many, whether there are more]. */
async function published() {
  if (library.snapshots) return [0, false];
  const { items, next } = await get(`/models?${new URLSearchParams({ limit: COUNTED, snapshots: true })}`);
  return [items.filter((one) => one.snapshot).length, Boolean(next)];
}

function unseenWords() {
  const [size, more] = library.unseen;
  return size ? `${more ? `${count(size)} or more snapshots` : many(size, "snapshot")} of online models` : "";
}

async function look() {
  try {
    const [[datasets, moreData], [models, moreModels], answering, unseen] = await Promise.all([everything("datasets"), everything("models"), get("/api/deployments").catch(() => []), published()]);
    Object.assign(library, { unseen, deployed: answering, assets: [...datasets, ...models].sort((a, b) => b.created_ms - a.created_ms), more: moreData || moreModels, loaded: true, error: "" });
  } catch (error) {
    library.error = error.message;
  }
  if (library.poll) paint();
  return library.assets.some(busy);
}

// ---- the list --------------------------------------------------------------------------------------------------------

function build(host) {
  const again = () => { library.shown = SHOWN; paint(); };
  const search = el("input", { id: "asset-filter", type: "search", autocomplete: "off", spellcheck: "false", oninput: () => { library.search = search.value; again(); } });
  const deleted = el("input", { type: "checkbox", onchange: () => { library.deleted = deleted.checked; again(); library.poll?.now(); } });
  const snapshots = el("input", { type: "checkbox", onchange: () => { library.snapshots = snapshots.checked; again(); library.poll?.now(); } });
  const row = (name, legend, options) => el("fieldset", { class: "span" }, el("legend", { class: "unseen" }, legend), choices(name, options, "all", (value) => { library[name] = value; again(); }));
  const parts = { snapshots, sum: el("p", { class: "aside" }), rows: el("div"), more: el("div"), upload: el("div"), deployed: el("div"), list: el("div", { class: "hub" }), detail: el("div", { class: "hub" }) };
  parts.list.append(
    el("div", { class: "title" }, el("h1", { tabindex: "-1" }, "Library"), parts.sum), parts.upload, parts.deployed,
    el("div", { class: "tools" },
      el("p", { class: "search" }, el("label", { for: "asset-filter" }, "Find "), search),
      row("kind", "Kind", [{ value: "all", label: "All" }, { value: "dataset", label: "Datasets" }, { value: "model", label: "Models" }]),
      row("owner", "Owner", [{ value: "all", label: "Everyone’s" }, { value: "ours", label: "Ours" }, { value: "granted", label: "Granted to us" }]),
      el("label", { class: "check" }, deleted, " deleted ones too"),
      el("label", { class: "check", title: "What online models have published: many, and each of them a model" }, snapshots, " snapshots of online models")),
    parts.rows, parts.more);
  host.replaceChildren(parts.list, parts.detail);
  return parts;
}

function matching() {
  const words = library.search.trim().toLowerCase().split(/\s+/).filter(Boolean);
  return library.assets.filter((one) => {
    if (one.deleted_ms !== null && !library.deleted) return false;
    if (!library.snapshots && one.snapshot) return false;
    if (library.kind !== "all" && kindOf(one) !== library.kind) return false;
    if (library.owner !== "all" && who.mine(one) !== (library.owner === "ours")) return false;
    const text = `${one.name} ${one.description} ${one.id} ${one.company} ${one.media || ""} ${one.framework || ""} ${one.snapshot?.model || ""} ${one.created_by}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

function paint() {
  const { parts } = library;
  uploader(parts.upload, () => library.poll?.now());
  deployed(parts.deployed, { list: library.deployed, error: library.undone, done: (error) => { library.undone = error; library.poll?.now(); } });
  const found = matching();
  const models = library.assets.filter((one) => one.deleted_ms === null && isModel(one)).length;
  const datasets = library.assets.filter((one) => one.deleted_ms === null).length - models;
  say(parts.sum, library.loaded ? `${many(datasets, "dataset")}, ${many(models, "model")}${library.more ? ", and more" : ""}${unseenWords() ? `; ${unseenWords()} not shown` : ""}` : "");
  const shown = found.slice(0, library.shown);
  const minutes = Math.floor(Date.now() / 60_000); // "5 minutes ago" moves on
  refresh(parts.rows, [library.error, library.loaded, shown, library.assets.length, library.unseen, who.me(), minutes], () => [trouble(), rows(shown)].filter(Boolean));
  comeBack();
  refresh(parts.more, [found.length > shown.length, library.more], () => [
    found.length > shown.length ? el("button", { type: "button", class: "more", "data-keep": "more-assets", onclick: () => { library.shown += SHOWN; paint(); } }, `Show ${Math.min(SHOWN, found.length - shown.length)} more of ${count(found.length)}`) : null,
    library.more ? el("button", { type: "button", class: "more", "data-keep": "load-assets", onclick: () => { library.pages += 1; library.poll?.now(); } }, "Load older ones") : null,
  ].filter(Boolean));
}

/** The focus goes back to where the reader left the list, as soon as it is drawn. */
function comeBack() {
  if (!library.from || !library.loaded) return;
  library.parts.list.querySelector(`[data-keep="${CSS.escape(library.from)}"]`)?.focus();
  library.from = "";
}

const trouble = () => (library.error ? el("p", { class: "notice", role: "alert" }, `The library could not be read: ${clip(library.error, 300)}`) : null);

function rows(shown) {
  if (!library.loaded) return library.error ? null : el("p", { class: "asking" }, "Reading the library…");
  if (!library.assets.length) return nothing();
  if (!shown.length) return el("p", { class: "card small" }, "Nothing matches. Fewer words, or another choice above, show more.");
  const head = ["Name", "Kind", "Owner", "Size", "Samples and shape", "State", "Created"];
  return el("div", { class: "card list" }, el("table", { class: "rows" },
    el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, shown.map(line))));
}

function line(one) {
  const cell = (label, ...children) => el("td", { "data-label": label, class: children[0] === "–" ? "none" : null }, ...children);
  const format = isModel(one) ? one.framework : one.media;
  return el("tr", { class: one.deleted_ms !== null ? "gone" : "" },
    el("th", { scope: "row" }, el("a", { href: `#library/${one.id}`, "data-keep": one.id, title: one.description }, clip(one.name, 80))),
    cell("Kind", isModel(one) ? "model" : "dataset", format ? el("span", { class: "of" }, ` ${clip(format, 24)}`) : null),
    cell("Owner", ownerOf(one), one.confidential ? el("span", { class: "of" }, " · confidential") : null),
    cell("Size", sizeOf(one) ? bytes(sizeOf(one)) : "–"),
    cell("Shape", shapeOf(one)),
    cell("State", badge(stateOf(one)), " ", mark(one)),
    cell("Created", el("time", { title: when(one.created_ms) }, ago(one.created_ms))));
}

function nothing() {
  return el("div", { class: "card empty" },
    unseenWords() ? el("p", {}, `Nobody has registered anything yet, but online models have published: ${unseenWords()}. `, el("button", { type: "button", class: "quiet", "data-keep": "show-snapshots", onclick: () => library.parts.snapshots.click() }, "Show them")) : null,
    el("p", {}, `${unseenWords() ? "To add something of your own, drop" : "The library is empty. Drop"} a file above, or register one from the command line:`),
    copyable("headrace dataset add readings.csv", "the command that adds a dataset"),
    el("p", {}, "Make a dataset of what a stream has brought:"),
    copyable("headrace dataset from-stream plant/demo/reading --from 2026-01-01 --to 2026-02-01", "the command that makes a dataset of a stream"),
    el("p", {}, "Then train a model on it:"),
    copyable("headrace model train my-model/", "the command that trains a model"));
}

// ---- the view --------------------------------------------------------------------------------------------------------

export function show(host, id, moved) {
  library.parts ??= build(host);
  const { parts } = library;
  const before = library.opened;
  library.opened = id;
  parts.list.hidden = Boolean(id);
  parts.detail.hidden = !id;
  asset.close();
  if (id) {
    library.poll?.stop();
    library.poll = null;
    asset.open(parts.detail, id);
    return;
  }
  if (!library.poll) library.poll = poll(look);
  library.from = moved ? "" : before;
  paint();
}

export function hide() {
  asset.close();
  library.poll?.stop();
  library.poll = null;
}
