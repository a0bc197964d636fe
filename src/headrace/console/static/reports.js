// Evaluation reports: what `headrace evaluate` sent. Every text of a report goes in as text.

import { get } from "./api.js";
import { drawLines } from "./chart.js";
import { byId, choices, el, refresh, say } from "./dom.js";
import { axisRange } from "./numbers.js";
import { clip, clock, date, fixed, localZone, many, sentence } from "./words.js";

const MOST_ROWS = 500;
const MOST_FIGURES = 4;
/** What a row is ranked by when nothing else is said, the first that is there; `true`: the highest is best. */
const RANKED = [["mse", false], ["skill", true], ["mae", false], ["days_to_recover", false]];
const SHARES = /coverage|share/i;
const HIGHER = /skill|coverage|share|good/;
const BASELINES = new Set(["persistence", "hour-mean"]);

const reports = { list: null, chosen: null, shown: null, failed: "", sort: null, asked: 0, fetching: null };

/** Ask for the list, at most once a minute; `known`: whether this platform is new enough to have one. */
export async function load(known) {
  if (!known || Date.now() - reports.asked < 60_000) return;
  reports.asked = Date.now();
  try {
    reports.list = await get("/api/reports");
  } catch {
    reports.list = null;
  }
  byId("reports").hidden = reports.list === null;
  if (reports.list === null) return;
  say(byId("reports-note"), reports.list.length ? many(reports.list.length, "report") : "none yet");
  if (byId("reports").open) paint();
}

/** Draw the list and the chosen report; called when the fold is opened or the reader chooses, never by a push. */
export function paint() {
  if (!reports.list) return;
  if (!reports.list.length) {
    refresh(byId("report"), "none", () => el("p", { class: "small" }, "“headrace evaluate” compares models and baselines over many periods; a report that it sends here is kept and shown as a table."));
    return;
  }
  reports.chosen ??= reports.list[0].name;
  picker();
  if (reports.shown?.name === reports.chosen) table();
  else fetchChosen();
}

function picker() {
  refresh(byId("report-picker"), [reports.list, reports.chosen], () => {
    const title = ({ title: text, name }) => clip(text || name, 70);
    const change = (name) => { Object.assign(reports, { chosen: name, sort: null }); paint(); };
    if (reports.list.length > 4) {
      const menu = el("select", { id: "pick-report", onchange: () => change(menu.value) }, reports.list.map((one) => el("option", { value: one.name }, title(one))));
      menu.value = reports.chosen;
      return [el("label", { for: "pick-report" }, "Report "), menu];
    }
    const options = reports.list.map((one) => ({ value: one.name, label: title(one) }));
    return el("fieldset", { class: "tabs plain" }, el("legend", { class: "unseen" }, "Report shown"), choices("report", options, reports.chosen, change));
  });
}

async function fetchChosen() {
  const name = reports.chosen;
  if (reports.fetching === name) return;
  reports.fetching = name;
  try {
    reports.shown = { ...await get(`/api/reports/${encodeURIComponent(name)}`), name };
  } catch (error) {
    refresh(byId("report"), ["failed", name, error.message], () => el("p", { class: "notice", role: "alert" }, `The report could not be loaded: ${clip(error.message, 200)}.`));
    return;
  } finally {
    if (reports.fetching === name) reports.fetching = null;
  }
  if (name === reports.chosen) table();
}

// ---- the table -------------------------------------------------------------------------------------------------------

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function columnsOf({ columns, rows }) {
  return columns.map((column) => {
    const values = rows.map((row) => row[column.name]).filter(isNumber);
    const numeric = values.length > 0 && rows.every((row) => row[column.name] === null || row[column.name] === undefined || isNumber(row[column.name]));
    const share = numeric && !column.unit && SHARES.test(`${column.name} ${column.help || ""}`) && !/mse|error/i.test(column.name) && values.every((value) => value >= 0 && value <= 1);
    return { ...column, numeric, share, places: share ? 1 : numeric ? placesOf(values) : 0 };
  });
}

/** Decimals that show three digits of a middling value, the same in every row, so that the points stand under each other. */
function placesOf(values) {
  if (values.every(Number.isInteger)) return 0;
  const sizes = values.map(Math.abs).filter(Boolean).sort((a, b) => a - b);
  const middle = sizes[sizes.length >> 1] ?? 1;
  return Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(middle))));
}

function cell(value, column) {
  if (value === null || value === undefined) return "–";
  if (isNumber(value)) return column.share ? `${fixed(100 * value, 1)} %` : fixed(value, column.places);
  return clip(typeof value === "string" ? value : JSON.stringify(value), 120);
}

function ranking(columns, kind) {
  if (kind === "replay") return null; // day by day: in the order in which it came
  const found = RANKED.find(([name]) => columns.some((column) => column.name === name && column.numeric));
  if (found) return { by: found[0], down: found[1] };
  const first = columns.find(({ numeric }) => numeric);
  return first ? { by: first.name, down: HIGHER.test(first.name) } : null;
}

function inOrder(rows, sort) {
  if (!sort) return rows;
  const sign = sort.down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [left, right] = [a[sort.by], b[sort.by]];
    const lacking = (left === null || left === undefined) - (right === null || right === undefined);
    if (lacking) return lacking; // what has no value goes last, whichever way it is sorted
    if (isNumber(left) && isNumber(right)) return sign * (left - right);
    return sign * String(left ?? "").localeCompare(String(right ?? ""));
  });
}

function isBaseline(row, columns) {
  return row.baseline === true || row.role === "baseline" || columns.some(({ name, numeric }) => !numeric && BASELINES.has(row[name]));
}

function table() {
  const report = reports.shown;
  const { title, kind, received_ms: received, notes = [], rows = [] } = report;
  refresh(byId("report"), [report, reports.sort], () => {
    const columns = columnsOf({ columns: report.columns || [], rows });
    const sort = reports.sort || ranking(columns, kind);
    const zone = localZone();
    const when = received ? `, received ${date(received, zone)}, ${clock(received, zone)} (your time)` : "";
    return [
      el("div", { class: "model-line" }, el("h3", {}, clip(title || report.name, 160)), el("span", { class: "badge" }, clip(kind || "report", 20)), el("p", { class: "small" }, `${many(rows.length, "row")}${when}`)),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Report: ${clip(title || report.name, 100)}` }, whole(columns, inOrder(rows, sort).slice(0, MOST_ROWS), sort)),
      ...below(columns, sort),
      el("div", { id: "report-figures" }),
      notes.length ? el("ul", { class: "small notes" }, notes.slice(0, 40).map((note) => el("li", {}, clip(String(note), 600)))) : null,
      el("p", { class: "small" }, el("a", { href: `/api/reports/${encodeURIComponent(report.name)}`, download: `${report.name}.json` }, "Download as JSON")),
    ].filter(Boolean);
  });
  // Only the figures depend on the width: a table drawn anew under somebody's finger would swallow the click.
  refresh(byId("report-figures"), [report.name, received, byId("report").clientWidth], () => drawn(report.figures || []));
}

/** The figures that came with the report, as lines. */
function drawn(figures) {
  return figures.slice(0, MOST_FIGURES).filter(({ x, series }) => x?.length > 1 && series?.length).map(({ title, name, x, series }) => {
    const chart = el("div", { class: "chart" });
    const lines = series.slice(0, 8).map((one) => ({ ...one, kind: BASELINES.has(one.name) ? "baseline" : "" }));
    const places = x.map((place) => (typeof place === "number" ? place : clip(String(place), 16)));
    const [low, high] = axisRange(lines.flatMap(({ values }) => values));
    queueMicrotask(() => drawLines(chart, places, lines, low, high)); // once it stands in the page and has a width
    const legend = lines.map((one, index) => el("li", {}, el("i", { class: `key line s${index} ${one.kind}` }), clip(one.name, 40)));
    const more = series.length > lines.length ? el("li", {}, `and ${series.length - lines.length} more in the JSON`) : null;
    return el("figure", {}, el("figcaption", {}, clip(title || name, 120)), el("ul", { class: "legend" }, legend, more), chart);
  });
}

function whole(columns, rows, sort) {
  const head = el("tr", {}, columns.map((column) => heading(column, sort)));
  const body = rows.map((row) => {
    const baseline = isBaseline(row, columns);
    return el("tr", { class: baseline ? "baseline" : null }, columns.map((column, index) => {
      const tag = index === 0 ? el("th", { scope: "row" }) : el("td", { class: column.numeric ? null : "words" });
      tag.append(...el("i", {}, cell(row[column.name], column)).childNodes);
      if (index === 0 && baseline) tag.append(el("span", { class: "badge mark" }, "baseline"));
      return tag;
    }));
  });
  return el("table", { class: "report" }, el("thead", {}, head), el("tbody", {}, body));
}

/** How it is sorted, and what the columns mean. */
function below(columns, sort) {
  const helped = columns.filter(({ help }) => help);
  const best = sort && columns.find(({ name }) => name === sort.by);
  const sorted = best ? `Sorted by ${best.label || best.name}, ${sort.down ? "highest" : "lowest"} first; ` : "";
  const words = [el("p", { class: "small" }, sentence(`${sorted}a click on a column sorts by it.`))];
  if (!helped.length) return words;
  const meanings = helped.flatMap(({ label, name, help }) => [el("dt", {}, clip(label || name, 60)), el("dd", {}, clip(help, 300))]);
  return [...words, el("details", { class: "help" }, el("summary", {}, "What the columns mean"), el("dl", {}, meanings))];
}

function heading(column, sort) {
  const on = sort?.by === column.name;
  const turn = () => {
    const down = on ? !sort.down : column.numeric && HIGHER.test(column.name);
    reports.sort = { by: column.name, down };
    table();
  };
  const text = [clip(column.label || column.name, 60), column.unit ? el("small", {}, ` ${clip(column.unit, 20)}`) : null];
  return el("th", { scope: "col", class: column.numeric ? null : "words", "aria-sort": on ? (sort.down ? "descending" : "ascending") : null, title: column.help ? clip(column.help, 300) : null },
    el("button", { type: "button", "data-keep": `sort ${column.name}`, onclick: turn }, text));
}
