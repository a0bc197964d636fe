// Keeps the page's picture of the platform, fed by /api/events, and paints it at most three times a second.

import * as alerts from "./alerts.js";
import { get } from "./api.js";
import { paintCandidates } from "./candidates.js";
import { paintCoverage } from "./coverage.js";
import { byId, choices, say } from "./dom.js";
import * as figure from "./figure.js";
import * as folds from "./folds.js";
import { compare, insert, merge, trailing, trim } from "./numbers.js";
import * as reports from "./reports.js";
import { decisions, headline, modelHead, noModels, picker, quarantine, readings, remember, yardsticks } from "./sections.js";
import { paintSkill } from "./skill.js";
import * as views from "./views.js";
import * as who from "./who.js";
import * as why from "./why.js";
import { CONTENDERS, localZone, scaleOf } from "./words.js";

const KEPT_DAYS = 30;
const MOST_PAIRS = 12; // beyond these, a model's details are loaded when it is chosen
const SILENCE = 8_000;
const NAMES = Object.keys(CONTENDERS);

const state = { overview: null, details: new Map(), loading: new Map(), missed: new Map(), selected: null, days: innerWidth < 600 ? 3 : 7, link: "connecting", wanted: null };

// ---- talking to the platform -----------------------------------------------------------------------------------------

let source = null;
let retry = null;
let heard = Date.now();

const idOf = (model, key) => JSON.stringify([model, key]);

function pairs() {
  return (state.overview?.models || []).flatMap((model) =>
    (model.keys.length ? model.keys : [null]).map((key) => ({ id: idOf(model.name, key), model, key })));
}

async function load(pair) {
  if (pair.key === null || state.loading.has(pair.id)) return;
  state.loading.set(pair.id, true);
  state.missed.set(pair.id, []);
  try {
    const detail = await get(`/api/models/${encodeURIComponent(pair.model.name)}?${new URLSearchParams({ key: pair.key, days: KEPT_DAYS })}`);
    for (const change of state.missed.get(pair.id)) change(detail); // arrived while the answer was on its way
    detail.display = (largest) => scaleOf(detail.unit, largest);
    detail.state = pair.model.state;
    state.details.set(pair.id, detail);
    paintSoon();
  } catch (error) {
    if (error.status && error.status !== 404) console.info(`${pair.model.name}: ${error.message}`);
  } finally {
    state.missed.delete(pair.id);
    // A score changes the sums, and at a fast replay there are many scores: at most one load in five seconds.
    setTimeout(() => {
      const again = state.loading.get(pair.id) === "again";
      state.loading.delete(pair.id);
      if (again) load(pair);
    }, 5_000);
  }
}

function reload(pair) {
  if (state.loading.has(pair.id)) state.loading.set(pair.id, "again");
  else load(pair);
}

function loadMissing() {
  const all = pairs();
  const ids = new Set(all.map(({ id }) => id));
  for (const id of state.details.keys()) if (!ids.has(id)) state.details.delete(id);
  all.forEach((pair, index) => {
    const known = state.details.get(pair.id);
    if (index >= MOST_PAIRS && pair.id !== state.selected) return;
    if (!known || known.state !== pair.model.state) load(pair);
  });
}

function take(overview) {
  state.overview = overview;
  remember(overview);
  const all = pairs();
  if (!all.some(({ id }) => id === state.selected)) {
    const wanted = idFromAddress();
    const live = all.filter(({ model, key }) => model.state === "live" && key !== null);
    const first = all.find(({ id }) => id === wanted) || live.find(({ model }) => !model.shadow_of) || live[0] || all[0];
    state.selected = first ? first.id : null;
  }
  loadMissing();
  reports.load(overview.alerts && all.every(({ model }) => "shadow_of" in model));
  paintSoon();
}

function update(event, change) {
  const data = JSON.parse(event.data);
  const id = idOf(data.model, data.key);
  const detail = state.details.get(id);
  heard = Date.now();
  state.missed.get(id)?.push((fresh) => change(fresh, data));
  if (!detail) return;
  change(detail, data);
  trim(detail, KEPT_DAYS);
  paintSoon();
}

function listen() {
  clearTimeout(retry);
  source?.close();
  source = null;
  if (who.locked()) return;
  source = new EventSource("/api/events");
  heard = Date.now();
  source.addEventListener("open", () => {
    connected("connected");
    if (!who.me()) who.ask(); // it could not be asked while nothing answered
    for (const pair of pairs()) if (state.details.has(pair.id)) reload(pair); // what was missed while away
  });
  source.addEventListener("error", () => {
    connected("lost");
    // The browser tries again by itself unless the server answered with an error; then it is up to us.
    if (source.readyState !== EventSource.CLOSED) return;
    retry = setTimeout(listen, 3_000);
    who.ask(); // whoever has no session is told what to do, and not that nothing answers
  });
  source.addEventListener("overview", (event) => {
    heard = Date.now();
    connected("connected");
    take(JSON.parse(event.data));
  });
  source.addEventListener("actual", (event) => update(event, (detail, { points }) => merge(detail.actual, points)));
  source.addEventListener("forecast", (event) => update(event, (detail, { forecast }) => insert(detail.forecasts, forecast)));
  source.addEventListener("coverage", (event) => update(event, (detail, { coverage }) => insert((detail.coverage ??= []), coverage)));
  source.addEventListener("decision", (event) => update(event, (detail, { decision }) => insert(detail.decisions, decision)));
  source.addEventListener("score", (event) => {
    update(event, (detail, { score }) => insert(detail.scores, score));
    const { model, key } = JSON.parse(event.data);
    const pair = pairs().find(({ id }) => id === idOf(model, key));
    if (pair && state.details.has(pair.id)) reload(pair); // the sums are the platform's, not ours
  });
}

const LINKS = { connecting: "Connecting…", connected: "Connected", lost: "Connection lost: trying again", silent: "No news: still listening" };

function connected(link) {
  state.link = link;
  const node = byId("link");
  node.dataset.state = link;
  say(node, LINKS[link]);
  document.body.classList.toggle("stale", link === "lost");
  if (link !== "lost") return;
  const last = state.overview ? " Below is what was last seen." : "";
  say(byId("headline"), `Headrace does not answer: trying again. Is “make run” or “headrace up” still running?${last}`);
}

setInterval(() => {
  if (state.link === "connected" && Date.now() - heard > SILENCE) connected("silent");
}, 2_000);

// A browser allows six connections to one server: a page nobody looks at gives its own back.
let asleep = null;
const silence = () => { source?.close(); source = null; clearTimeout(retry); };
document.addEventListener("visibilitychange", () => {
  clearTimeout(asleep);
  if (document.hidden) asleep = setTimeout(silence, 10_000);
  else if (!source) listen();
});

// ---- choosing --------------------------------------------------------------------------------------------------------

const address = () => new URLSearchParams(location.hash.slice(1));

function idFromAddress() {
  const wanted = address();
  return wanted.has("model") ? idOf(wanted.get("model"), wanted.get("key")) : null;
}

/** Write into the address what is shown, so that it can be sent to somebody: model, key and the value being explained. */
function remind(picked, baseline) {
  const [model, key] = JSON.parse(state.selected);
  const parts = { model, ...(key === null ? {} : { key }), ...(picked ? { origin: picked.origin_ms, step: picked.step } : {}), ...(picked && baseline ? { baseline } : {}) };
  history.replaceState(null, "", `#${new URLSearchParams(parts)}`);
}

function choose(id) {
  why.close();
  state.selected = id;
  figure.setCursor(null);
  remind(null);
  loadMissing();
  paint();
}

function explain(detail, forecast, step, bykey) {
  const { name, key, timezone, unit } = detail;
  why.open({ name, key, timezone, unit, forecast, step }, bykey);
}

/** Open the explanation that the address asks for, once the forecast is there. */
function explainWanted(detail) {
  if (!state.wanted) return;
  const origin = Number(state.wanted.get("origin"));
  const step = Number(state.wanted.get("step") || 0);
  const forecast = detail.forecasts.find(({ origin_ms }) => origin_ms === origin);
  const asked = state.wanted;
  state.wanted = null;
  if (!forecast || !(step in forecast.values)) return;
  why.baseline(asked.get("baseline"));
  explain(detail, forecast, step, false);
}

function spanPicker() {
  const options = [3, 7, 14, 30].map((days) => ({ value: days, label: `${days} d`, title: `Show the last ${days} days` }));
  byId("span").append(...choices("days", options, state.days, (days) => { state.days = days; figure.setCursor(null); paint(); }));
}

// ---- painting --------------------------------------------------------------------------------------------------------

let planned = null;
function paintSoon() {
  planned ??= setTimeout(() => { planned = null; requestAnimationFrame(paint); }, 300);
}

function paint() {
  if (!state.overview) return;
  if (views.current() !== "streams") { // nothing is drawn where it has no width; the count of alerts stands in the head of every view
    alerts.paintBadge(state.overview);
    return;
  }
  const all = pairs();
  const known = all.map(({ id }) => state.details.get(id)).filter(Boolean);
  const zoneFor = (device) => (known.find(({ key }) => key === device) || known[0])?.timezone || localZone();
  if (state.link !== "lost") headline(state.overview, known);
  readings(state.overview, zoneFor);
  quarantine(state.overview);
  const pair = all.find(({ id }) => id === state.selected);
  if (!pair) noModels();
  else {
    picker(all, state.selected, choose);
    modelHead(pair, state.overview);
  }
  const detail = pair ? state.details.get(pair.id) : null;
  byId("model-body").hidden = !detail || !detail.actual.length;
  if (detail?.actual.length) paintModel(detail);
  else say(byId("zone"), "");
  alerts.paintAlerts(state.overview, known);
  paintSkill(detail, known, KEPT_DAYS);
  paintCandidates(state.overview, known, paintSoon);
  decisions(detail);
}

function paintModel(detail) {
  const view = figure.paintFigure(detail, state.days);
  const scores = detail.scores.length ? trailing(detail.scores, detail.scores.at(-1).origin_ms) : [];
  const names = NAMES.filter((name) => scores.some(({ contenders }) => contenders[name]));
  yardsticks(compare(scores, names), names, { factor: view.factor, unit: view.unit }, scores.length);
  paintCoverage(detail, view);
  explainWanted(detail);
}

// ---- ready -----------------------------------------------------------------------------------------------------------

byId("numbers").addEventListener("toggle", paintSoon);
addEventListener("hashchange", () => {
  const id = idFromAddress();
  if (!pairs().some((pair) => pair.id === id)) return;
  const wanted = address();
  if (id !== state.selected) choose(id);
  state.wanted = wanted.has("origin") ? wanted : null;
  paintSoon();
});
let width = innerWidth;
new ResizeObserver(() => {
  if (innerWidth === width) return;
  width = innerWidth;
  why.redraw();
  if (byId("reports").open) reports.paint();
  paintSoon();
}).observe(document.documentElement);

state.wanted = address().has("origin") ? address() : null;
spanPicker();
folds.watch((id) => (id === "reports" ? reports.paint() : paint()));
alerts.wire(paint);
why.wire((picked, baseline) => { figure.mark(picked); remind(picked, baseline); });
figure.wire((forecast, step, bykey) => explain(figure.shown().detail, forecast, step, bykey));
who.wire(listen, silence);
views.wire(paint);
listen();
who.ask();
