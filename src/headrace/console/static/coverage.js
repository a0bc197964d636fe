// Does the band hold what it promises? In words, and as a strip over time.

import { drawCoverage } from "./chart.js";
import { byId, el, refresh } from "./dom.js";
import { coverage, coverageSeries, measured } from "./numbers.js";
import { DAY, fixed, many, number } from "./words.js";

const ENOUGH_DAYS = 5; // fewer say nothing about a promise of 90 %
const DRAWN_DAYS = 60;
const percent = (share) => `${fixed(100 * share, 0)} %`;

export function paintCoverage(detail, view) {
  const interval = measured(detail.forecasts);
  const banded = view.kept.some(({ low, high }) => low && high);
  byId("coverage").hidden = !interval && !banded;
  const scored = detail.coverage || [];
  const active = view.quiet ? "daytime" : "active steps";
  const inside = interval ? null : coverage(detail, view.kept);
  refresh(byId("coverage-words"), [detail.name, detail.key, interval, scored.length, active, inside, view.unit], () =>
    (interval ? words(interval, spanOf(scored, interval.days), active, view) : counted(inside)));
  strip(interval, scored, active, detail.timezone);
}

/** Days that the measurement rests on: its window, or less while there is less. */
function spanOf(scored, days) {
  if (!scored.length) return days;
  return Math.min(days, Math.round((scored.at(-1).origin_ms - scored[0].origin_ms) / DAY) + 1);
}

const distinct = (interval) => Boolean(interval.active?.n) && interval.active.n < interval.n;

function words(interval, days, active, view) {
  const { nominal, coverage: held, width } = interval;
  const part = distinct(interval) ? interval.active : null;
  const unit = view.unit ? ` ${view.unit}` : "";
  const judged = part ? part.coverage : held;
  const sentence = `${percent(nominal)} band: held ${percent(held)} of the last ${many(days, "day")}${part ? ` (${active} ${percent(part.coverage)})` : ""}, mean width ${number(width * view.factor)}${unit}`;
  const more = part ? `${active === "daytime" ? "In daytime" : "Where active"} it is ${number(part.width * view.factor)}${unit} wide.` : "";
  return [el("p", { class: "verdict" }, verdict(judged, nominal, days, part ? active : "")), el("p", { class: "small", id: "held" }, `${sentence}.`), more ? el("p", { class: "small" }, more) : null].filter(Boolean);
}

function verdict(held, nominal, days, active) {
  if (days < ENOUGH_DAYS) return `Too early to say: ${many(days, "day")} measured.`;
  const where = active === "daytime" ? " by day" : active ? " where active" : "";
  if (held < nominal - 0.03) return `Not quite: too narrow${where}.`;
  return held > nominal + 0.05 ? `Yes, but wider than needed${where}.` : "Yes: about as often as promised.";
}

/** Without a measurement of the platform's: what the page itself can count. */
function counted({ inside, known }) {
  if (!known) return el("p", { class: "small" }, "Not known yet: no forecast with a band has been compared with what happened.");
  return el("p", { class: "small" }, el("b", {}, `Band held ${percent(inside / known)}`), ` of ${many(known, "active step")} in the forecasts shown.`);
}

function strip(interval, scored, active, zone) {
  const chart = byId("coverage-chart");
  const shown = Boolean(interval) && scored.length > 1;
  chart.hidden = !shown;
  byId("coverage-legend").hidden = !shown;
  if (!shown) return;
  const every = coverageSeries(scored, interval.days);
  const settled = every.length > 2 * ENOUGH_DAYS ? every.slice(ENOUGH_DAYS - 1) : every; // a share of very few jumps about
  const series = settled.filter(({ ms }) => ms > settled.at(-1).ms - DRAWN_DAYS * DAY);
  const both = distinct(interval);
  drawCoverage(chart, both ? series : series.map((one) => ({ ...one, active: null })), interval.nominal, zone);
  const items = [...(both ? [["active", active]] : []), ["all", both ? "all hours" : "held"], ["nominal", `promised ${percent(interval.nominal)}`]];
  refresh(byId("coverage-legend"), items, () => items.map(([kind, text]) => el("li", {}, el("i", { class: `key covered-${kind}` }), text)));
  chart.title = `Share of values inside the band, over the ${interval.days} days up to each day`;
}
