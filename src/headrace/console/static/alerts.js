// Alerts: a count in the head of the page, and the list, active ones first.

import { get } from "./api.js";
import { byId, el, refresh, say } from "./dom.js";
import { reveal, suggest } from "./folds.js";
import { DAY, clip, clock, count, date, fixed, lasting, localZone, many, number, scaleOf, sentence, titled } from "./words.js";

const SHOWN = 4;
const RECENT = 20;
/** What a rule watches, in words. */
const WATCHED = { reading: "readings", forecast: "forecasts", breach: "outcomes outside the band", coverage: "coverage of the band", drift: "drift", silence: "silence" };
const RANKS = { critical: 0, warning: 1, info: 3 };
const rankOf = ({ severity }) => RANKS[severity] ?? 2;

const alerts = { every: null, all: false, missing: "" };

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
  const { pending = 0, failed = 0, error = "" } = told.webhooks || {};
  const late = failed || (pending && error);
  byId("webhooks").hidden = !late;
  if (late) say(byId("webhooks"), `Webhook: ${failed ? `${many(failed, "message")} given up, ` : ""}${many(pending, "message")} waiting.${error ? ` ${sentence(clip(error, 200))}` : ""}`);
}

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
  await load(`/api/alerts?limit=200${alerts.all ? "" : "&active=1"}`);
}

async function load(path) {
  try {
    alerts.every = await get(path);
  } catch (error) {
    console.info(`alerts: ${error.message}`);
  }
}

function paintList(list, active, known) {
  const units = Object.fromEntries(known.map(({ name, unit }) => [name, unit]));
  const zones = Object.fromEntries(known.map(({ name, timezone }) => [name, timezone]));
  const shown = alerts.all ? list.slice(0, 200) : list.slice(0, Math.max(SHOWN, Math.min(active, 18) + 2));
  refresh(byId("alert-list"), [shown, units, zones], () => {
    if (!list.length) return el("li", { class: "small" }, "No rule has raised an alert. Rules stand in a model's spec, under “alerts”: on readings, forecasts, the band, drift, or a device that falls silent.");
    return shown.map((one) => item(one, units[one.model], zones[one.model] || localZone()));
  });
  refresh(byId("alerts-more"), [list.length > shown.length, alerts.all], () => {
    if (list.length <= shown.length && !alerts.all) return [];
    const turn = async () => {
      alerts.all = !alerts.all;
      if (alerts.all) await load("/api/alerts?limit=200");
      paintList(alerts.every ? together({ recent: list }) : list, active, known);
    };
    return el("button", { type: "button", class: "more", "data-keep": "more-alerts", onclick: turn }, alerts.all ? "Show fewer" : "Show all alerts");
  });
}

function item(alert, unit, zone) {
  const { state, severity, rule, model, key, message, on } = alert;
  const active = state === "active";
  const look = !active ? "kept" : severity === "warning" ? "waiting" : severity === "info" ? "kept" : "failed";
  const badges = [el("span", { class: "badge", "data-state": look }, !active ? "Cleared" : severity ? sentence(clip(String(severity), 16)) : "Active")];
  const facts = [when(alert, zone), against(alert, unit), `rule ${clip(rule, 60)}${WATCHED[on] && WATCHED[on] !== rule ? ` (${WATCHED[on]})` : ""}`, clip(titled(model, key), 120)];
  return el("li", { "data-state": state, "data-look": look },
    el("p", {}, badges, el("span", { class: "reason" }, clip(message || rule, 300))),
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
    reveal("alerts");
    repaint();
  });
}
