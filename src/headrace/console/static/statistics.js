// Statistics of a dataset, drawn: what each column holds, and which columns go together.

import { el, refresh, svg } from "./dom.js";
import { heatMap } from "./heatmap.js";
import { clip, count, fixed, many, number } from "./words.js";

const SHOWN = 24;
const WIDTH = 200;
const HEIGHT = 44;

const finite = (value) => typeof value === "number" && Number.isFinite(value);

/** The columns as the page draws them; a door may send a list, or an object by name. */
export function columnsOf(statistics) {
  const found = statistics?.columns ?? statistics?.unidimensional ?? [];
  const list = Array.isArray(found) ? found : Object.entries(found).map(([name, one]) => ({ name, ...one }));
  return list.filter((one) => one && typeof one === "object").map((one, index) => ({ ...one, name: String(one.name ?? `column ${index}`) }));
}

/** [[share below, value], …] rising in both: the quantiles with the ends. */
export function steps({ min, max, quantiles }) {
  const inner = Object.entries(quantiles || {}).map(([share, value]) => [Number(share), value]);
  const ends = [[0, min], ...inner.filter(([share]) => share > 0 && share < 1), [1, max]];
  return ends.filter(([share, value]) => finite(share) && finite(value)).sort((a, b) => a[0] - b[0]);
}

/** Bars between quantiles: as wide as they lie apart, as high as what is between them lies dense, so that areas are shares. */
function shape(column) {
  const points = steps(column);
  const root = svg("svg", { class: "shape", width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": shapeWords(points) });
  if (points.length < 2) return root;
  const [low, high] = [points[0][1], points.at(-1)[1]];
  const x = (value) => (high > low ? ((value - low) / (high - low)) * (WIDTH - 2) + 1 : WIDTH / 2);
  const bars = points.slice(1).map(([share, value], index) => {
    const [before, from] = points[index];
    const wide = Math.max(2, x(value) - x(from));
    return { left: Math.min(x(from), WIDTH - wide), wide, share: share - before, dense: (share - before) / wide, from, to: value };
  });
  const top = Math.max(...bars.map(({ dense }) => dense)) || 1;
  for (const { left, wide, share, dense, from, to } of bars) {
    const tall = Math.max(1.5, (dense / top) * (HEIGHT - 4));
    const bar = svg("rect", { class: "mass", x: left.toFixed(1), y: (HEIGHT - tall).toFixed(1), width: Math.max(1, wide - 1).toFixed(1), height: tall.toFixed(1) });
    bar.append(svg("title", {}, `${fixed(100 * share, 0)} % from ${number(from)} to ${number(to)}`));
    root.append(bar);
  }
  if (finite(column.mean)) root.append(svg("line", { class: "mean", x1: x(column.mean).toFixed(1), x2: x(column.mean).toFixed(1), y1: 0, y2: HEIGHT }, svg("title", {}, `mean ${number(column.mean)}`)));
  return root;
}

const shapeWords = (points) => (points.length < 2 ? "No values" : points.map(([share, value]) => `${fixed(100 * share, 0)} % below ${number(value)}`).join(", "));

/** The commonest values of a column of words. */
function commonest(column) {
  const found = column.top ?? column.values ?? [];
  const list = (Array.isArray(found) ? found : Object.entries(found)).slice(0, 4).map((one) => (Array.isArray(one) ? one : [one.value, one.count])).filter(([, size]) => finite(size));
  if (!list.length) return el("span", { class: "small" }, finite(column.distinct) ? many(column.distinct, "different value") : "no numbers");
  return el("ul", { class: "top" }, list.map(([value, size]) => el("li", {}, el("span", {}, clip(String(value), 24)), el("span", { class: "small" }, count(size)))));
}

function missing(column) {
  const total = (column.count || 0) + (column.missing || 0) + (column.infinite || 0);
  const lacking = column.missing || 0;
  const share = total ? lacking / total : 0;
  const bar = el("span", { class: "lack", "aria-hidden": "true" }, el("i"));
  bar.firstElementChild.style.width = `${lacking ? Math.max(2, 100 * share) : 0}%`;
  const words = lacking ? `${share < 0.001 ? "under 0.1" : number(100 * share, 2)} % missing` : "none missing";
  return el("span", { class: "missing", title: `${count(lacking)} of ${count(total)} missing` }, bar, el("span", { class: "small" }, words));
}

function line(column) {
  const cell = (label, ...children) => el("td", { "data-label": label, class: children[0] === "–" ? "none" : null }, ...children);
  const numeric = finite(column.min) && finite(column.max);
  const spread = finite(column.std) ? ` ± ${number(column.std)}` : "";
  const infinite = column.infinite ? el("span", { class: "small" }, ` ${count(column.infinite)} infinite`) : null;
  return el("tr", {},
    el("th", { scope: "row" }, clip(column.name, 60), column.type ? el("span", { class: "of" }, ` ${clip(String(column.type), 20)}`) : null),
    cell("Distribution", numeric ? shape(column) : commonest(column)),
    cell("Range", numeric ? `${number(column.min)} to ${number(column.max)}` : "–"),
    cell("Mean", finite(column.mean) ? `${number(column.mean)}${spread}` : "–"),
    cell("Median", number(column.quantiles?.["0.5"])),
    cell("Missing", missing(column), infinite));
}

function table(columns) {
  const head = ["Column", "Distribution", "Range", "Mean ± spread", "Median", "Missing"];
  return el("table", { class: "rows columns" }, el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, columns.map(line)));
}

/** What else is known: the entries that are a number or a word. */
function rest(statistics) {
  const known = new Set(["columns", "unidimensional", "matrix", "samples", "sample_shape"]);
  const found = Object.entries(statistics).filter(([name, value]) => !known.has(name) && ["number", "string", "boolean"].includes(typeof value));
  if (!found.length) return null;
  return el("dl", { class: "details" }, found.slice(0, 30).map(([name, value]) => el("div", {}, el("dt", {}, clip(name.replaceAll("_", " "), 60)), el("dd", {}, typeof value === "number" ? number(value, 4) : clip(String(value), 200)))));
}

export function statistics({ statistics: found, statistics_state: state }) {
  const card = (...children) => el("section", { class: "card statistics" }, el("h2", {}, "Statistics"), ...children);
  if (state === "pending") return card(el("p", { class: "asking" }, "Being measured in the sandbox; this page fills itself in."));
  if (!found) return null;
  const columns = columnsOf(found);
  const host = el("div");
  const draw = (all) => refresh(host, all, () => {
    const more = columns.length - SHOWN;
    const turn = el("button", { type: "button", class: "more", "data-keep": "columns", onclick: () => draw(!all) }, all ? "Show fewer" : `Show ${count(more)} more columns`);
    return [table(all ? columns : columns.slice(0, SHOWN)), more > 0 ? turn : null].filter(Boolean);
  });
  if (columns.length) draw(false);
  return card(columns.length ? el("p", { class: "small" }, "The bars stand between the 0, 5, 25, 50, 75, 95 and 100 % quantiles: the area of each is its share of the values; the line is the mean.") : null,
    host, rest(found), heatMap(found, columns));
}
