// Keeps the page's picture of the platform, fed by /api/events, and paints it at most three times a second.

import { drawCursor, drawForecast, drawSkill } from "./chart.js";
import { byId, choices, el, refresh, say } from "./dom.js";
import {
  WINDOW_DAYS, apart, compare, coverage, insert, latest, merge, nights, persistence, skillSeries, trailing, trim, valueAt,
} from "./numbers.js";
import { decisions, errorTable, headline, modelHead, noModels, picker, quarantine, readings, remember, yardsticks } from "./sections.js";
import { CONTENDERS, DAY, HOUR, clock, date, dayName, fixed, localZone, many, moment, number, scaleOf, signed, titled, zoneName } from "./words.js";

const KEPT_DAYS = 30;
const MOST_PAIRS = 12; // beyond these, a model's details are loaded when it is chosen
const SILENCE = 8_000;
const NAMES = Object.keys(CONTENDERS);

const state = { overview: null, details: new Map(), loading: new Map(), missed: new Map(), selected: null, days: innerWidth < 600 ? 3 : 7, link: "connecting", cursor: null, drawn: null };

// ---- talking to the platform -----------------------------------------------------------------------------------------

let source = null;
let retry = null;
let heard = Date.now();

async function get(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" } });
  if (!answer.ok) throw Object.assign(new Error(`the server answered ${answer.status}`), { status: answer.status });
  return answer.json();
}

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
    const path = `/api/models/${encodeURIComponent(pair.model.name)}?key=${encodeURIComponent(pair.key)}&days=${KEPT_DAYS}`;
    const detail = await get(path);
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
    const first = all.find(({ id }) => id === wanted) || all.find(({ model, key }) => model.state === "live" && key !== null) || all[0];
    state.selected = first ? first.id : null;
  }
  loadMissing();
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
  source = new EventSource("/api/events");
  heard = Date.now();
  source.addEventListener("open", () => {
    connected("connected");
    for (const pair of pairs()) if (state.details.has(pair.id)) reload(pair); // what was missed while away
  });
  source.addEventListener("error", () => {
    connected("lost");
    // The browser tries again by itself unless the server answered with an error; then it is up to us.
    if (source.readyState === EventSource.CLOSED) retry = setTimeout(listen, 3_000);
  });
  source.addEventListener("overview", (event) => {
    heard = Date.now();
    connected("connected");
    take(JSON.parse(event.data));
  });
  source.addEventListener("actual", (event) => update(event, (detail, { points }) => merge(detail.actual, points)));
  source.addEventListener("forecast", (event) => update(event, (detail, { forecast }) => insert(detail.forecasts, forecast)));
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
document.addEventListener("visibilitychange", () => {
  clearTimeout(asleep);
  if (document.hidden) asleep = setTimeout(() => { source?.close(); source = null; clearTimeout(retry); }, 10_000);
  else if (!source) listen();
});

// ---- choosing --------------------------------------------------------------------------------------------------------

function idFromAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  return wanted.has("model") ? idOf(wanted.get("model"), wanted.get("key")) : null;
}

function choose(id) {
  state.selected = id;
  state.cursor = null;
  const [model, key] = JSON.parse(id);
  history.replaceState(null, "", `#${new URLSearchParams(key === null ? { model } : { model, key })}`);
  loadMissing();
  paint();
}

function spanPicker() {
  const options = [3, 7, 14, 30].map((days) => ({ value: days, label: `${days} d`, title: `Show the last ${days} days` }));
  byId("span").append(...choices("days", options, state.days, (days) => { state.days = days; state.cursor = null; paint(); }));
}

// ---- painting --------------------------------------------------------------------------------------------------------

let planned = null;
function paintSoon() {
  planned ??= setTimeout(() => { planned = null; requestAnimationFrame(paint); }, 300);
}

function paint() {
  if (!state.overview) return;
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
  if (detail?.actual.length) paintFigure(detail);
  else say(byId("zone"), "");
  paintSkill(detail, known);
  decisions(detail);
}

function paintFigure(detail) {
  const current = detail.forecasts.at(-1) || null;
  const end = Math.max(latest(detail) ?? 0, current ? current.origin_ms + current.values.length * current.step_ms : 0);
  const from = Math.max(end - state.days * DAY, Math.min(detail.actual[0][0], current?.origin_ms ?? Infinity));
  const view = viewOf(detail, current, from, end);
  state.view = view;
  const whose = `${detail.target} by ${titled(detail.name, detail.key)}`;
  byId("chart").setAttribute("aria-label", `Forecast of ${whose} beside what happened, last ${state.days} days; arrow keys read single values`);
  state.drawn = drawForecast(byId("chart"), view);
  legend(view);
  const scores = detail.scores.length ? trailing(detail.scores, detail.scores.at(-1).origin_ms) : [];
  const names = NAMES.filter((name) => scores.some(({ contenders }) => contenders[name]));
  yardsticks(compare(scores, names), names, { factor: view.factor, unit: view.unit }, scores.length, coverage(detail, view.kept));
  say(byId("zone"), `times in ${zoneName(detail.timezone, end)}${Date.now() - end > DAY ? "; recorded data, replayed" : ""}`);
  readout();
  forecastTable(detail, current, view);
}

function viewOf(detail, current, from, to) {
  const seen = detail.actual.filter(([ms]) => ms >= from && ms < to);
  const forecasts = apart(detail.forecasts).filter((one) => one.origin_ms + one.values.length * one.step_ms > from);
  const every = [...seen.map(([, value]) => value), ...forecasts.flatMap(({ values, high, low }) => [...values, ...(high || []), ...(low || [])])];
  const finite = every.filter((value) => value !== null);
  const low = Math.min(0, ...finite);
  const high = Math.max(low + 1e-9, ...finite);
  const { factor, unit } = detail.display(Math.max(-low, high));
  const half = detail.step_ms / 2; // a grid value stands for its whole step: drawn at the middle
  const put = ([ms, value]) => [ms + half, value === null ? null : value * factor];
  const curve = (forecast, values) => values.map((value, step) => put([forecast.origin_ms + step * forecast.step_ms, value])).filter(([ms]) => ms >= from);
  const now = latest(detail);
  const shade = nights(detail, from, to);
  return {
    from, to, zone: detail.timezone, unit, factor, low: low * factor, high: high * factor, half, detail, current, kept: forecasts,
    actual: seen.map(put),
    forecasts: forecasts.map((one) => ({
      current: one === current, points: curve(one, one.values), low: one.low && curve(one, one.low), high: one.low && one.high && curve(one, one.high),
    })),
    persistence: current && persistence(detail, current).map(put),
    nights: shade.spans, quiet: shade.quiet,
    published: detail.decisions.filter(({ publish, origin_ms }) => publish && origin_ms >= from && origin_ms <= to).map(({ origin_ms }) => origin_ms),
    now, nowLabel: Math.abs(Date.now() - now) < 2 * HOUR + detail.step_ms ? "now" : `data reach ${clock(now, detail.timezone)}`,
  };
}

function legend(view) {
  const items = [["actual", "what happened"]];
  if (view.current) items.push(["current", "current forecast"]);
  if (view.forecasts.length > 1) items.push(["past", "earlier forecasts"]);
  if (view.forecasts.some(({ low }) => low)) items.push(["band", "interval"]);
  if (view.persistence?.some(([, value]) => value !== null)) items.push(["persistence", "same hour yesterday"]);
  items.push(["night", view.quiet ? "hours without output" : "18:00 to 06:00"]);
  if (view.published.length) items.push(["published", "new version published"]);
  refresh(byId("legend"), items, () => items.map(([kind, text]) => el("li", {}, el("i", { class: `key ${kind}` }), text)));
}

const withUnit = (value, view) => (value === null || value === undefined ? "–" : `${number(value * view.factor)}${view.unit ? ` ${view.unit}` : ""}`);

/** What is under the cursor, or the current forecast in one sentence. */
function readout() {
  const { view, drawn, cursor } = state;
  if (!view) return;
  if (cursor === null) {
    drawCursor(drawn, null, []);
    say(byId("readout"), inShort(view));
    return;
  }
  const { detail } = view;
  const ms = cursor;
  const forecast = view.kept.find((one) => ms >= one.origin_ms && ms < one.origin_ms + one.values.length * one.step_ms);
  const step = forecast ? Math.round((ms - forecast.origin_ms) / forecast.step_ms) : 0;
  const actual = valueAt(detail.actual, ms);
  const dots = [{ kind: "actual", value: actual === null ? null : actual * view.factor }];
  const words = [`${moment(ms, view.zone)} to ${clock(ms + detail.step_ms, view.zone)}`, `actual ${actual === null ? "not known yet" : withUnit(actual, view)}`];
  if (forecast) {
    dots.push({ kind: "forecast", value: forecast.values[step] * view.factor });
    const interval = forecast.low && forecast.high ? ` (${number(forecast.low[step] * view.factor)} to ${withUnit(forecast.high[step], view)})` : "";
    words.push(`forecast ${withUnit(forecast.values[step], view)}${interval}`);
  }
  const before = valueAt(detail.actual, ms - DAY);
  if (before !== null) words.push(`same hour yesterday ${withUnit(before, view)}`);
  drawCursor(drawn, ms + view.half, dots);
  say(byId("readout"), words.join(" · "));
}

function inShort({ current, detail, unit, factor, zone }) {
  if (!current) return `No forecast yet: ${many(detail.actual.length, detail.step_ms === HOUR ? "hour" : "step")} of actual values so far.`;
  const peak = current.values.reduce((best, value, step) => (value > current.values[best] ? step : best), 0);
  const at = current.origin_ms + peak * current.step_ms;
  const hours = current.step_ms / HOUR;
  const total = current.values.reduce((sum, value) => sum + value, 0) * factor * hours;
  const energy = /^[kM]?W$/.test(unit) ? `, ${number(total)} ${unit}h in all` : "";
  return `Forecast for ${dayName(current.origin_ms, zone)} ${date(current.origin_ms, zone).slice(-4)} from ${clock(current.origin_ms, zone)}: highest ${number(current.values[peak] * factor)} ${unit} at ${clock(at, zone)}${energy}. Made by ${current.by === "live" ? "the live model" : "the published model"}.`;
}

function forecastTable(detail, current, view) {
  const details = byId("numbers");
  details.hidden = !current;
  if (!current || !details.open) return;
  const known = current.values.map((_, step) => valueAt(detail.actual, current.origin_ms + step * current.step_ms));
  refresh(details.lastElementChild, [current, known], () => {
    const columns = ["From", "Forecast", "Low", "High", "Same hour yesterday", "Actual"];
    const naive = persistence(detail, current);
    const rows = current.values.map((value, step) => el("tr", {},
      el("th", { scope: "row" }, moment(current.origin_ms + step * current.step_ms, view.zone)),
      [value, current.low?.[step], current.high?.[step], naive[step][1], known[step]].map((each) => el("td", {}, withUnit(each, view)))));
    return el("table", {}, el("thead", {}, el("tr", {}, columns.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, rows));
  });
}

let series = { print: "", value: [] };
/** The skill series, computed again only after a new score. */
function remembered(scores, names) {
  const print = JSON.stringify([state.selected, scores.length, scores.at(-1), names]);
  if (series.print !== print) series = { print, value: skillSeries(scores, names) };
  return series.value;
}

function paintSkill(detail, known) {
  const scored = known.some(({ scores }) => scores.length);
  byId("skill").hidden = !scored;
  byId("gate").hidden = !scored && !known.some(({ decisions: some }) => some.length);
  const scores = detail?.scores || [];
  const names = NAMES.filter((name) => name !== "hour-mean" && scores.some(({ contenders }) => contenders[name]));
  const series = names.length ? remembered(scores, names) : [];
  const title = detail ? `${titled(detail.name, detail.key)}, trailing ${WINDOW_DAYS} days` : "";
  say(byId("skill-note"), title);
  errorTable(known, KEPT_DAYS);
  const chart = byId("skill-chart");
  if (!series.length) {
    refresh(byId("skill-legend"), [], () => []);
    chart.replaceChildren();
    say(byId("skill-readout"), "Drawn once the first forecast can be compared with what happened.");
    return;
  }
  drawSkill(chart, series, names, detail.timezone);
  const last = series.at(-1);
  refresh(byId("skill-legend"), [names, last], () => [
    ...names.map((name) => el("li", {}, el("i", { class: `key ${name}` }), `${CONTENDERS[name]} `, el("b", {}, signed(last.skill[name])))),
    el("li", {}, el("i", { class: "key hour-mean" }), `${CONTENDERS["hour-mean"]} `, el("b", {}, "0"))]);
  const short = series.filter(({ ms }) => ms < series[0].ms + (WINDOW_DAYS - 1) * DAY).length;
  const partial = short ? ` The first ${many(short, "point")} rest${short === 1 ? "s" : ""} on fewer than ${WINDOW_DAYS} days.` : "";
  const cut = series.some(({ skill }) => names.some((name) => skill[name] < -1)) ? " Values below −1 are drawn at −1." : "";
  say(byId("skill-readout"), `Each point: the ${WINDOW_DAYS} days up to it (now n = ${many(last.n, "forecast")}). Above 0 is better than the mean of that hour.${partial}${cut}`);
}

// ---- pointing at the figure ------------------------------------------------------------------------------------------

function pointAt(event) {
  const { drawn, view } = state;
  if (!drawn) return;
  const inside = event.clientX - byId("chart").getBoundingClientRect().left;
  const share = (inside - drawn.box.left) / (drawn.box.right - drawn.box.left);
  setCursor(view.from + Math.min(1, Math.max(0, share)) * (view.to - view.from));
}

function setCursor(ms) {
  const { view } = state;
  const { step_ms: step, actual } = view.detail;
  const anchor = actual[0][0];
  const last = view.to - step;
  state.cursor = ms === null ? null : Math.min(last, Math.max(view.from, anchor + Math.floor((ms - anchor) / step) * step));
  readout();
}

function keys(event) {
  const { view } = state;
  if (!view) return;
  const step = view.detail.step_ms;
  const at = state.cursor ?? (view.now ?? view.to) - step;
  const moves = { ArrowLeft: at - step, ArrowRight: at + step, PageUp: at - DAY, PageDown: at + DAY, Home: view.from, End: view.to - 1, Escape: null };
  if (!(event.key in moves)) return;
  event.preventDefault();
  byId("readout").setAttribute("aria-live", "polite");
  setCursor(moves[event.key]);
}

const chart = byId("chart");
chart.addEventListener("pointermove", pointAt);
chart.addEventListener("pointerdown", pointAt);
chart.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") setCursor(null); });
chart.addEventListener("blur", () => { if (state.view) setCursor(null); });
chart.addEventListener("keydown", keys);
byId("numbers").addEventListener("toggle", () => paintSoon());
addEventListener("hashchange", () => {
  const wanted = idFromAddress();
  if (pairs().some(({ id }) => id === wanted)) choose(wanted);
});
let width = innerWidth;
new ResizeObserver(() => {
  if (innerWidth !== width) { width = innerWidth; paintSoon(); }
}).observe(document.documentElement);

spanPicker();
listen();
