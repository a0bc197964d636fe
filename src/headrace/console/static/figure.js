// The main figure: what happened beside what was forecast, its legend, the value under the cursor, the table.

import { drawCursor, drawForecast, drawPicked } from "./chart.js";
import { byId, el, refresh, say } from "./dom.js";
import { apart, axisRange, latest, nights, persistence, valueAt } from "./numbers.js";
import { DAY, HOUR, clock, date, dayName, many, moment, number, titled, zoneName } from "./words.js";

const figure = { view: null, drawn: null, cursor: null, picked: null, explain: null };

/** The numbers of the figure as last painted; null before. */
export const shown = () => figure.view;

export function paintFigure(detail, days) {
  const current = detail.forecasts.at(-1) || null;
  const end = Math.max(latest(detail) ?? 0, current ? current.origin_ms + current.values.length * current.step_ms : 0);
  const from = Math.max(end - days * DAY, Math.min(detail.actual[0][0], current?.origin_ms ?? Infinity));
  const view = viewOf(detail, current, from, end);
  figure.view = view;
  const whose = `${detail.target} by ${titled(detail.name, detail.key)}`;
  byId("chart").setAttribute("aria-label", `Forecast of ${whose} beside what happened, last ${days} days; arrow keys read single values, Enter explains a forecast`);
  figure.drawn = drawForecast(byId("chart"), view);
  mark(figure.picked);
  legend(view);
  say(byId("zone"), `times in ${zoneName(detail.timezone, end)}${Date.now() - end > DAY ? "; recorded data, replayed" : ""}`);
  byId("why-hint").hidden = !current;
  readout();
  forecastTable(detail, current, view);
  return view;
}

function viewOf(detail, current, from, to) {
  const seen = detail.actual.filter(([ms]) => ms >= from && ms < to);
  const forecasts = apart(detail.forecasts).filter((one) => one.origin_ms + one.values.length * one.step_ms > from);
  const every = [...seen.map(([, value]) => value), ...forecasts.flatMap(({ values, high, low }) => [...values, ...(high || []), ...(low || [])])];
  const [low, high] = axisRange(every);
  const { factor, unit } = detail.display(Math.max(Math.abs(low), Math.abs(high)));
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

const BAND = "The forecast is the model's; the band is what the truths and errors of the last days say of that hour. Where nothing usually happens (“quiet”), a forecast can lie outside its band.";

function legend(view) {
  const items = [["actual", "what happened"]];
  if (view.current) items.push(["current", "current forecast"]);
  if (view.forecasts.length > 1) items.push(["past", "earlier forecasts"]);
  const nominal = view.kept.map(({ interval }) => interval?.nominal).findLast(Boolean);
  if (view.forecasts.some(({ low }) => low)) items.push(["band", nominal ? `${number(100 * nominal)} % band` : "interval"]);
  if (view.persistence?.some(([, value]) => value !== null)) items.push(["persistence", "same hour yesterday"]);
  items.push(["night", view.quiet ? "hours without output" : "18:00 to 06:00"]);
  if (view.published.length) items.push(["published", "new version published"]);
  refresh(byId("legend"), items, () => items.map(([kind, text]) => el("li", { title: kind === "band" ? BAND : null }, el("i", { class: `key ${kind}` }), text)));
}

const withUnit = (value, view) => (value === null || value === undefined ? "–" : `${number(value * view.factor)}${view.unit ? ` ${view.unit}` : ""}`);

/** The forecast that covers a moment, and which of its steps does. */
function forecastAt(view, ms) {
  const forecast = view.kept.find((one) => ms >= one.origin_ms && ms < one.origin_ms + one.values.length * one.step_ms);
  return forecast ? { forecast, step: Math.floor((ms - forecast.origin_ms) / forecast.step_ms) } : null;
}

/** What is under the cursor, or the current forecast in one sentence. */
function readout() {
  const { view, drawn, cursor } = figure;
  if (!view) return;
  if (cursor === null) {
    drawCursor(drawn, null, []);
    say(byId("readout"), inShort(view));
    return;
  }
  const { detail } = view;
  const actual = valueAt(detail.actual, cursor);
  const dots = [{ kind: "actual", value: actual === null ? null : actual * view.factor }];
  const words = [`${moment(cursor, view.zone)} to ${clock(cursor + detail.step_ms, view.zone)}`, `actual ${actual === null ? "not known yet" : withUnit(actual, view)}`];
  const found = forecastAt(view, cursor);
  if (found) {
    const { values, low, high } = found.forecast;
    dots.push({ kind: "forecast", value: values[found.step] * view.factor });
    const interval = low && high ? ` (${number(low[found.step] * view.factor)} to ${withUnit(high[found.step], view)})` : "";
    words.push(`forecast ${withUnit(values[found.step], view)}${interval}`);
  }
  const before = valueAt(detail.actual, cursor - DAY);
  if (before !== null) words.push(`same hour yesterday ${withUnit(before, view)}`);
  drawCursor(drawn, cursor + view.half, dots);
  say(byId("readout"), words.join(" · "));
}

function inShort({ current, detail, unit, factor, zone }) {
  if (!current) return `No forecast yet: ${many(detail.actual.length, detail.step_ms === HOUR ? "hour" : "step")} of actual values so far.`;
  const peak = current.values.reduce((best, value, step) => (value > current.values[best] ? step : best), 0);
  const at = current.origin_ms + peak * current.step_ms;
  const hours = current.step_ms / HOUR;
  const total = current.values.reduce((sum, value) => sum + value, 0) * factor * hours;
  const energy = /^[kM]?W$/.test(unit) ? `, ${number(total)} ${unit}h in all` : "";
  return `Forecast for ${dayName(current.origin_ms, zone)} ${date(current.origin_ms, zone).slice(-4)} from ${clock(current.origin_ms, zone)}: highest ${number(current.values[peak] * factor)}${unit && ` ${unit}`} at ${clock(at, zone)}${energy}. Made by ${current.by === "live" ? "the live model" : "the published model"}.`;
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

// ---- pointing and picking --------------------------------------------------------------------------------------------

/** Ring around the forecast value that is being explained: {origin_ms, step} or null. */
export function mark(picked) {
  const { view, drawn } = figure;
  figure.picked = picked;
  if (!drawn) return;
  const forecast = picked && view.kept.find(({ origin_ms }) => origin_ms === picked.origin_ms);
  const ms = forecast ? forecast.origin_ms + picked.step * forecast.step_ms : null;
  drawPicked(drawn, ms === null || ms < view.from ? null : ms + view.half, forecast ? forecast.values[picked.step] * view.factor : null);
}

export function setCursor(ms) {
  const { view } = figure;
  if (!view || ms === null) figure.cursor = null;
  else {
    const { step_ms: step, actual } = view.detail;
    const anchor = actual[0][0];
    figure.cursor = Math.min(view.to - step, Math.max(view.from, anchor + Math.floor((ms - anchor) / step) * step));
  }
  readout();
}

function pointAt(event) {
  const { drawn, view } = figure;
  if (!drawn) return;
  const inside = event.clientX - byId("chart").getBoundingClientRect().left;
  const share = (inside - drawn.box.left) / (drawn.box.right - drawn.box.left);
  setCursor(view.from + Math.min(1, Math.max(0, share)) * (view.to - view.from));
  byId("chart").classList.toggle("explains", Boolean(forecastAt(view, figure.cursor)));
}

function pick(bykey) {
  const { view, cursor } = figure;
  const found = view && cursor !== null ? forecastAt(view, cursor) : null;
  if (found) figure.explain(found.forecast, found.step, bykey);
}

function keys(event) {
  const { view } = figure;
  if (!view || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = view.detail.step_ms;
  const at = figure.cursor ?? (view.now ?? view.to) - step;
  const moves = { ArrowLeft: at - step, ArrowRight: at + step, PageUp: at - DAY, PageDown: at + DAY, Home: view.from, End: view.to - 1, Escape: null };
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    if (figure.cursor === null) setCursor(at);
    pick(true);
  } else if (event.key in moves) {
    event.preventDefault();
    byId("readout").setAttribute("aria-live", "polite");
    setCursor(moves[event.key]);
  }
}

/** Listen to pointer and keys; `explain(forecast, step, bykey)` is called when a forecast value is picked. */
export function wire(explain) {
  figure.explain = explain;
  const chart = byId("chart");
  if (matchMedia("(pointer: coarse)").matches) say(byId("why-hint"), "Tap a forecast to see why it has this value.");
  chart.addEventListener("pointermove", pointAt);
  chart.addEventListener("pointerdown", pointAt);
  chart.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") setCursor(null); });
  chart.addEventListener("click", (event) => { pointAt(event); pick(false); });
  chart.addEventListener("blur", () => setCursor(null));
  chart.addEventListener("keydown", keys);
}
