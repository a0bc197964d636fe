// Which columns of a dataset go together: correlations as a map of squares, and the strongest in words.

import { el, svg } from "./dom.js";
import { clip, fixed, signed } from "./words.js";

const SIDE = 40;
const SMALL = 22;
const MOST = 40;
const LETTER = 6.4;

function matrixOf(matrix) {
  const cells = matrix?.correlation;
  if (!Array.isArray(cells) || cells.length < 2) return null;
  const names = cells.map((_, index) => String(matrix.columns?.[index] ?? index));
  return { cells: cells.slice(0, MOST).map((row) => row.slice(0, MOST)), names: names.slice(0, MOST), left: Math.max(0, cells.length - MOST) };
}

/** "power and i1 +0.99, …": the strongest three of different columns. */
function strongest({ cells, names }) {
  const found = [];
  cells.forEach((row, i) => row.forEach((value, j) => { if (j > i && typeof value === "number") found.push([Math.abs(value), `${clip(names[i], 30)} and ${clip(names[j], 30)} ${signed(value)}`]); }));
  return found.sort((a, b) => b[0] - a[0]).slice(0, 3).map(([, words]) => words).join(", ");
}

function square(value, x, y, side, title) {
  const known = typeof value === "number";
  const box = svg("rect", { class: !known ? "unknown" : value < 0 ? "minus" : "plus", x, y, width: side - 1, height: side - 1, rx: 2, "fill-opacity": known ? (0.06 + 0.84 * Math.min(1, Math.abs(value))).toFixed(2) : 1 }, svg("title", {}, title));
  if (side < SIDE || !known) return [box];
  return [box, svg("text", { class: Math.abs(value) > 0.6 ? "strong" : "", x: x + (side - 1) / 2, y: y + side / 2 + 4, "text-anchor": "middle" }, fixed(value, 2))];
}

function draw({ cells, names }) {
  const side = names.length > 12 ? SMALL : SIDE;
  const labels = names.map((name) => clip(name, 18));
  const room = Math.max(...labels.map((label) => label.length)) * LETTER + 12;
  const head = Math.min(90, room * 0.72) + 6;
  const size = { width: room + side * names.length + 34, height: head + side * names.length + 4 };
  const root = svg("svg", { class: "heat", ...size, viewBox: `0 0 ${size.width} ${size.height}`, role: "img", "aria-label": `Correlations of ${names.length} columns. Strongest: ${strongest({ cells, names })}` });
  labels.forEach((label, index) => {
    const middle = side * index + side / 2;
    root.append(
      svg("text", { x: room - 8, y: head + middle + 4, "text-anchor": "end" }, label, svg("title", {}, names[index])),
      svg("text", { x: 0, y: 0, transform: `translate(${room + middle + 3} ${head - 6}) rotate(-45)` }, label, svg("title", {}, names[index])));
  });
  cells.forEach((row, i) => row.forEach((value, j) => {
    const words = typeof value === "number" ? fixed(value, 3) : "not defined: one of them does not vary, or too few rows have both";
    root.append(...square(value, room + side * j, head + side * i, side, `${names[i]} and ${names[j]}: ${words}`));
  }));
  return root;
}

/** The map, or null where there is no matrix. */
export function heatMap(found) {
  const matrix = matrixOf(found);
  if (!matrix) return null;
  const words = strongest(matrix);
  return el("div", { class: "together" }, el("h3", {}, "Which columns go together"),
    el("p", { class: "small" }, `Correlation: +1 rises with it, −1 falls with it, 0 neither.${words ? ` Strongest: ${words}.` : ""}${matrix.left ? ` The first ${MOST} columns are drawn, ${matrix.left} are not.` : ""}`),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Correlations" }, draw(matrix)));
}
