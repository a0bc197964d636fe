// Alerts: a count in the head of the page, and the list, active ones first.

import { get } from "./api.js";
import { byId, el, refresh, say } from "./dom.js";
import { reveal, suggest } from "./folds.js";
import * as views from "./views.js";
import { DAY, clip, clock, count, date, fixed, lasting, localZone, many, number, scaleOf, sentence, titled } from "./words.js";

const SHOWN = 4;
const RECENT = 20;
/** More active alerts of one rule than this are one row with a count. */
const GROUPED = 5;
const STEP = 100;
const MOST = 1000; // of one answer
/** What a rule watches, in words. */
const WATCHED = { reading: "readings", forecast: "forecasts", breach: "outcomes outside the band", coverage: "coverage of the band", drift: "drift", silence: "silence" };
const RANKS = { critical: 0, warning: 1, info: 3 };
const rankOf = ({ severity }) => RANKS[severity] ?? 2;

const alerts = { every: null, shown: 0, missing: "", open: new Map() }; // open: group -> how many of its alerts are shown

const byTime = (a, b) => b.raised_ms - a.raised_ms;
const sorted = (list) => [...list].sort((a, b) => (a.state === "active" ? 0 : 1) - (b.state === "active" ? 0 : 1) || (a.state === "active" ? rankOf(a) - rankOf(b) : 0) || byTime(a, b));

/** The newest state of each alert, of all that this page has been told. */
function together({ recent }) {
  const found = new Map((alerts.every || []).map((one) => [one.id, one]));
  for (const one of recent) found.set(one.id, one);
  return sorted(found.values());
}

export function paintAlerts(overview, known) {
  const told = overview.alerts;
  byId("alerts").hidden = !told;
  const list = told ? together(told) : [];
  badge(told, list);
  if (!told) return;
  if (told.active) suggest("alerts");
  const active = told.active;
  const cleared = list.length - list.filter(({ state }) => state === "active").length;
  const before = cleared ? `, ${told.recent.length < RECENT ? count(cleared) : "more"} cleared` : ""; // the overview brings no more than these
  say(byId("alerts-note"), list.length ? `${active ? count(active) : "none"} active${before}` : "none");
  fetchMissing(told, list);
  if (byId("alerts").open) paintList(list, active, known);
  const { pending = 0, failed = 0, error = "", model = "" } = told.webhooks || {};
  const late = failed || (pending && error);
  byId("webhooks").hidden = !late;
  if (late) say(byId("webhooks"), `Webhook${model ? ` of ${clip(model, 60)}` : ""}: ${failed ? `${many(failed, "message")} given up, ` : ""}${many(pending, "message")} waiting.${error ? ` ${sentence(clip(error, 200))}` : ""}`);
}

/** The count alone, for the views that show no list. */
export const paintBadge = ({ alerts: told }) => badge(told, told ? together(told) : []);

function badge(told, list) {
  const node = byId("alert-count");
  node.hidden = !told;
  const active = told?.active || 0;
  const worst = list.find(({ state }) => state === "active");
  node.dataset.active = !active ? "no" : worst && rankOf(worst) > 0 ? "warning" : "critical";
  say(node, active ? many(active, "alert") : "No alerts");
  document.title = active ? `(${active}) Headrace` : "Headrace";
}

/** The overview brings the newest: when some of the active ones are older, or an older one was cleared, ask for those. */
async function fetchMissing({ active }, list) {
  const known = list.filter(({ state }) => state === "active").length;
  const print = `${active} ${known} ${list[0]?.id}`;
  if (known === active || alerts.missing === print) return;
  alerts.missing = print;
  await load(`/api/alerts?limit=${MOST}${alerts.shown ? "" : "&active=1"}`);
}

async function load(path) {
  try {
    alerts.every = await get(path);
  } catch (error) {
    console.info(`alerts: ${error.message}`);
  }
}

/** Active alerts of a rule of which there are many become one entry; all others are entries of their own, in their order. */
function entriesOf(list) {
  const groupOf = ({ model, rule, severity }) => JSON.stringify([model, rule, severity]);
  const groups = new Map();
  for (const one of list) if (one.state === "active") {
    if (!groups.has(groupOf(one))) groups.set(groupOf(one), []);
    groups.get(groupOf(one)).push(one);
  }
  const entries = [];
  for (const one of list) {
    const id = groupOf(one);
    const members = one.state === "active" ? groups.get(id) : [];
    if (members.length <= GROUPED) entries.push({ one });
    else if (members[0] === one) entries.push({ id, members });
  }
  return entries;
}

function paintList(list, active, known) {
  const units = Object.fromEntries(known.map(({ name, unit }) => [name, unit]));
  const zones = Object.fromEntries(known.map(({ name, timezone }) => [name, timezone]));
  const zoneOf = ({ model }) => zones[model] || localZone();
  const entries = entriesOf(list);
  const few = Math.max(SHOWN, Math.min(active, 18) + 2);
  const shown = entries.slice(0, alerts.shown || (entries.some(({ members }) => members) ? SHOWN : few));
  const repaint = () => paintList(list, active, known);
  refresh(byId("alert-list"), [shown, units, zones, [...alerts.open]], () => {
    if (!list.length) return el("li", { class: "small" }, "No rule has raised an alert. Rules stand in a model's spec, under “alerts”: on readings, forecasts, the band, drift, or a device that falls silent.");
    return shown.flatMap(({ one, id, members }) => (one ? [item(one, units[one.model], zoneOf(one))] : group(id, members, units, zoneOf, repaint)));
  });
  refresh(byId("alerts-more"), [entries.length, shown.length, alerts.shown, active, list.length], () => {
    const missing = active > list.length ? el("p", { class: "small" }, `The ${count(list.length)} newest are listed; GET /api/alerts?model=NAME&key=DEVICE&active=1 finds the others.`) : null;
    const rest = entries.length - shown.length;
    const turn = async (size) => {
      const first = !alerts.shown;
      alerts.shown = size;
      if (size && first) await load(`/api/alerts?limit=${MOST}`);
      paintList(size && alerts.every ? together({ recent: list }) : list, active, known);
    };
    const more = rest > 0 ? el("button", { type: "button", class: "more", "data-keep": "more-alerts", onclick: () => turn(alerts.shown + STEP) }, alerts.shown || rest > STEP ? `Show ${Math.min(STEP, rest)} more` : "Show all alerts") : null;
    const fewer = alerts.shown ? el("button", { type: "button", class: "more", "data-keep": "fewer-alerts", onclick: () => turn(0) }, "Show fewer") : null;
    return [more, fewer, missing].filter(Boolean);
  });
}

/** One row for many alerts of a rule: how many devices, the first of them, and on demand each, a hundred at a time. */
function group(id, members, units, zoneOf, repaint) {
  const [first] = members;
  const open = alerts.open.get(id) || 0;
  const look = lookOf(first);
  const names = members.slice(0, 4).map(({ key }) => clip(key, 40)).join(", ");
  const turn = () => { alerts.open.set(id, open ? 0 : STEP); repaint(); };
  const toggle = el("button", { type: "button", class: "more", "data-keep": `group ${id}`, "aria-expanded": open ? "true" : "false", onclick: turn }, open ? "Hide them" : `Show each of ${count(members.length)}`);
  const onward = open && members.length > open
    ? el("li", { class: "small" }, el("button", { type: "button", class: "more", "data-keep": `onward ${id}`, onclick: () => { alerts.open.set(id, open + STEP); repaint(); } }, `Show ${Math.min(STEP, members.length - open)} more of ${clip(first.rule, 60)}`)) : null;
  const head = el("li", { "data-state": "active", "data-look": look, class: "group" },
    el("p", {}, badgeOf(first), el("b", {}, `${many(members.length, "device")} · ${ruleWords(first)}`), ` ${names}${members.length > 4 ? ` and ${count(members.length - 4)} more` : ""}`),
    el("p", { class: "small" }, [`latest: ${clip(first.message || first.rule, 160)}`, when(first, zoneOf(first)), clip(first.model, 60)].join(" · ")), toggle);
  return [head, ...members.slice(0, open).map((one) => item(one, units[one.model], zoneOf(one))), onward].filter(Boolean);
}

const lookOf = ({ state, severity }) => (state !== "active" || severity === "info" ? "kept" : severity === "warning" ? "waiting" : "failed");
const badgeOf = (alert) =>
  el("span", { class: "badge", "data-state": lookOf(alert) }, alert.state !== "active" ? "Cleared" : alert.severity ? sentence(clip(String(alert.severity), 16)) : "Active");
const ruleWords = ({ rule, on }) => `${clip(rule, 60)}${WATCHED[on] && WATCHED[on] !== rule ? ` (${WATCHED[on]})` : ""}`;

/** Which device and rule first: that is what tells one row from the next. */
function item(alert, unit, zone) {
  const { state, rule, model, key, message } = alert;
  const facts = [when(alert, zone), against(alert, unit), `model ${clip(model, 60)}`];
  return el("li", { "data-state": state, "data-look": lookOf(alert) },
    el("p", {}, badgeOf(alert), el("b", {}, `${clip(key || model, 120)} · ${ruleWords(alert)}`)),
    el("p", { class: "reason" }, clip(message || rule, 300)),
    el("p", { class: "small" }, facts.filter(Boolean).join(" · ")));
}

const at = (ms, zone) => `${date(ms, zone)}, ${clock(ms, zone)}`;

function when({ state, raised_ms: raised, cleared_ms: cleared }, zone) {
  if (state !== "active" && cleared) return `${at(raised, zone)}, for ${lasting(cleared - raised)}`;
  const age = Date.now() - raised;
  return `since ${at(raised, zone)}${age > 0 && age < 60 * DAY ? ` (${lasting(age)})` : ""}`;
}

/** The value beside its threshold; shares as percent, silence (seconds) as a length of time, forecasts in the unit of the target. */
function against({ on, value, threshold }, unit) {
  if (!Number.isFinite(value)) return "";
  const inUnit = (each) => {
    const scale = scaleOf(on === "forecast" ? unit : "", Math.max(Math.abs(value), Math.abs(threshold ?? 0)));
    return `${number(each * scale.factor)}${scale.unit ? ` ${scale.unit}` : ""}`;
  };
  const text = on === "coverage" || on === "breach" ? (each) => `${fixed(100 * each, 0)} %` : on === "silence" ? (each) => lasting(each * 1000) : inUnit;
  return `${text(value)}${Number.isFinite(threshold) ? `, limit ${text(threshold)}` : ""}`;
}

export function wire(repaint) {
  byId("alert-count").addEventListener("click", (event) => {
    event.preventDefault(); // the address keeps naming the model
    views.go("streams");
    reveal("alerts");
    repaint();
  });
}
