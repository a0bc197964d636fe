// Statistics of a dataset, drawn: what each column holds, and which columns go together.

import { el, refresh, svg } from "./dom.js";
import { heatMap } from "./heatmap.js";
import { bytes, clip, count, fixed, many, number, sentence } from "./words.js";

const SHOWN = 24; // columns
const MOST = 12; // tables
const WIDTH = 200;
const HEIGHT = 44;

const finite = (value) => typeof value === "number" && Number.isFinite(value);

/** { title, columns, matrix, mean } of each table in the statistics: of a table file one, of several arrays or kinds of images several. */
export function tablesOf(found) {
  if (found.columns) return [{ title: "", columns: found.columns, matrix: found.matrix }];
  if (found.modes) return Object.entries(found.modes).map(([mode, one]) => ({ title: `${many(one.images, "image")}, ${mode}`, columns: one.channels, mean: one.mean_image }));
  if (found.arrays) return Object.entries(found.arrays).map(([name, one]) => arrayOf(one, name));
  return found.shape ? [arrayOf(found, "")] : [];
}

function arrayOf({ shape, type, values, features, matrix, note }, name) {
  const columns = values ? [{ name: "all values", ...values }] : (features || []).map((one, index) => ({ name: `[…, ${index}]`, ...one }));
  const title = [name, shape.map(count).join(" × ") || "one number", type].filter(Boolean).join(" · ");
  return { title, columns, note, matrix: matrix && { ...matrix, columns: matrix.columns.map((index) => `[…, ${index}]`) } };
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

function missing(column) {
  const total = (column.count || 0) + (column.missing || 0) + (column.infinite || 0);
  const lacking = column.missing || 0;
  const share = total ? lacking / total : 0;
  const bar = el("span", { class: "lack", "aria-hidden": "true" }, el("i"));
  bar.firstElementChild.style.width = `${lacking ? Math.max(2, 100 * share) : 0}%`;
  const words = lacking ? `${share < 0.001 ? "under 0.1" : number(100 * share, 2)} % missing` : "none missing";
  return el("span", { class: "missing", title: `${count(lacking)} of ${count(total)} missing` }, bar, el("span", { class: "small" }, words));
}

function range({ min, max, first, last, shortest, longest }) {
  if (finite(min) && finite(max)) return `${number(min)} to ${number(max)}`;
  if (first) return `${clip(String(first), 30)} to ${clip(String(last), 30)}`;
  if (!finite(longest)) return "–";
  return shortest === longest ? many(longest, "letter") : `${count(shortest)} to ${many(longest, "letter")}`;
}

function line(column, shaped) {
  const cell = (label, ...children) => el("td", { "data-label": label, class: children[0] === "–" ? "none" : null }, ...children);
  const numeric = finite(column.min) && finite(column.max);
  const different = finite(column.distinct) ? `${column.distinct_exact ? "" : "about "}${many(column.distinct, "different value")}` : "";
  const spread = finite(column.std) ? ` ± ${number(column.std)}` : "";
  const infinite = column.infinite ? el("span", { class: "small" }, ` ${count(column.infinite)} infinite`) : null;
  return el("tr", {},
    el("th", { scope: "row" }, clip(column.name, 60), column.type ? el("span", { class: "of" }, ` ${clip(String(column.type).toLowerCase(), 20)}`) : null),
    shaped ? cell("Distribution", numeric ? (column.quantiles ? shape(column) : null) : el("span", { class: "small" }, different)) : null,
    cell("Range", range(column)),
    cell("Mean", finite(column.mean) ? `${number(column.mean)}${spread}` : "–"),
    shaped ? cell("Median", number(column.quantiles?.["0.5"])) : null,
    cell("Missing", missing(column), infinite));
}

function table(columns) {
  const shaped = columns.some((one) => one.quantiles || finite(one.distinct));
  const head = shaped ? ["Column", "Distribution", "Range", "Mean ± spread", "Median", "Missing"] : ["Column", "Range", "Mean ± spread", "Missing"];
  return el("table", { class: "rows columns" }, el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, columns.map((one) => line(one, shaped))));
}

/** What else is known: the entries that are a number or a word, and how many there are of each class, format and so on. */
function rest(found) {
  const plain = Object.entries(found).filter(([name, value]) => !["shape", "type"].includes(name) && ["number", "string"].includes(typeof value));
  const counts = Object.entries(found).filter(([name, value]) => !["modes", "arrays", "matrix"].includes(name) && value && typeof value === "object" && !Array.isArray(value) && Object.values(value).every(finite));
  const words = [
    ...plain.map(([name, value]) => [name, name === "bytes" ? bytes(value) : typeof value === "number" ? number(value, 4) : clip(value, 200)]),
    ...counts.map(([name, value]) => [name, Object.entries(value).slice(0, 12).map(([what, size]) => `${clip(what, 40)} ${count(size)}`).join(", ") + (Object.keys(value).length > 12 ? " …" : "")]),
    ...(found.sizes?.length ? [["sizes", found.sizes.slice(0, 6).map(({ shape: size, images }) => `${size.join(" × ")} (${count(images)})`).join(", ")]] : []),
    ...(found.pairs ? [["pairs", found.pairs.slice(0, 6).map((name) => clip(name, 40)).join(" and ")]] : []),
  ];
  if (!words.length) return null;
  return el("dl", { class: "details" }, words.slice(0, 40).map(([name, text]) => el("div", {}, el("dt", {}, clip(sentence(name.replaceAll("_", " ")), 60)), el("dd", {}, text))));
}

/** The mean of all images, as an image. */
function meanImage(rows) {
  if (!rows?.length || ![1, 3, 4].includes(rows[0][0].length)) return null;
  const canvas = el("canvas", { class: "mean-image", width: rows[0].length, height: rows.length, role: "img", "aria-label": "Mean of all images" });
  const image = new ImageData(rows[0].length, rows.length);
  rows.flat().forEach((pixel, index) => {
    const [red, green, blue] = pixel.length === 1 ? [pixel[0], pixel[0], pixel[0]] : pixel;
    image.data.set([red, green, blue, 255], 4 * index);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return el("figure", { class: "mean-of" }, canvas, el("figcaption", { class: "small" }, "the mean of all images"));
}

/** The columns of one table, the first of them unless the reader asks for all. */
function drawn({ title, columns, matrix, mean, note }) {
  const host = el("div");
  const draw = (all) => refresh(host, all, () => {
    const more = columns.length - SHOWN;
    const turn = el("button", { type: "button", class: "more", "data-keep": "columns", onclick: () => draw(!all) }, all ? "Show fewer" : `Show ${count(more)} more columns`);
    return [table(all ? columns : columns.slice(0, SHOWN)), more > 0 ? turn : null].filter(Boolean);
  });
  if (columns.length) draw(false);
  return [title ? el("h3", {}, clip(title, 120)) : null, note ? el("p", { class: "small" }, sentence(clip(note, 200))) : null, meanImage(mean), host, heatMap(matrix)].filter(Boolean);
}

export function statistics({ statistics: found, statistics_state: state }) {
  const card = (...children) => el("section", { class: "card statistics" }, el("h2", {}, "Statistics"), ...children);
  if (state === "pending") return card(el("p", { class: "asking" }, "Being measured in the sandbox; this page fills itself in."));
  if (!found) return null;
  const tables = tablesOf(found);
  const quantiles = tables.some(({ columns }) => columns.some((column) => column.quantiles));
  return card(quantiles ? el("p", { class: "small" }, "The bars stand between the 0, 5, 25, 50, 75, 95 and 100 % quantiles: the area of each is its share of the values; the line is the mean.") : null,
    rest(found), tables.slice(0, MOST).flatMap(drawn), tables.length > MOST ? el("p", { class: "small" }, `and ${many(tables.length - MOST, "more array")}`) : null);
}
