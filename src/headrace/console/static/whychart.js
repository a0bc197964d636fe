// Contributions drawn: over time for a window of past values, as a list of bars for named inputs.

import { frame, line, scale, ticks, timeAxis, valueAxis } from "./chart.js";
import { el, svg } from "./dom.js";
import { axisRange } from "./numbers.js";
import { clip, clock, dayName, number, placesFor, signedFixed, signedNumber } from "./words.js";

const LISTED = 10;
const LARGEST = 5;
const SLIGHT = 0.03; // of the largest contribution: drawn as "hardly any"

const kindOf = (gives, largest) => (Math.abs(gives) <= SLIGHT * largest ? "slight" : gives > 0 ? "up" : "down");
const bySize = (a, b) => Math.abs(b.gives) - Math.abs(a.gives);
const largestOf = (parts) => Math.max(1e-12, ...parts.map(({ gives }) => Math.abs(gives)));

/** A window of many moments goes over a time axis with its largest named beside it; anything else is a list of bars. */
export function drawParts(host, part) {
  const timed = part.parts.filter(({ ms }) => ms !== null);
  const window = new Set(timed.map(({ ms }) => ms)).size >= 12;
  part.shared = new Set(timed.map(({ ms }) => ms)).size < timed.length; // several inputs of one moment: their labels tell them apart
  if (!window) {
    host.append(barList([...part.parts].sort(bySize), LISTED, part));
    return;
  }
  const chart = el("div", { class: "chart" });
  host.append(legend(), chart, el("h4", {}, "The largest"), barList([...part.parts].sort(bySize), LARGEST, part));
  drawWindow(chart, timed.sort((a, b) => a.ms - b.ms), part);
}

function legend() {
  const items = [["up", "raises (+)"], ["down", "lowers (−)"], ["slight", "hardly any effect"]];
  return el("ul", { class: "legend", "aria-label": "Legend" }, items.map(([kind, text]) => el("li", {}, el("i", { class: `key ${kind}` }), text)));
}

/** "Fri 7 Dec, 12:00" for the only input of a moment; the label where that says more. */
function nameOf({ label, ms }, { zone, shared }) {
  return ms === null || shared ? clip(label, 60) : `${dayName(ms, zone)}, ${clock(ms, zone)}`;
}

const valueOf = ({ value, ms }, { factor, unit }) => {
  if (value === null || !Number.isFinite(value)) return "";
  return ms === null ? number(value) : `${number(value * factor)}${unit ? ` ${unit}` : ""}`;
};

function barList(sorted, most, part) {
  const shown = sorted.length > most + 1 ? sorted.slice(0, most) : sorted;
  const others = sorted.slice(shown.length);
  const rest = others.reduce((sum, { gives }) => sum + gives, 0);
  const largest = largestOf(shown);
  const rows = shown.map((one) => row(nameOf(one, part), valueOf(one, part.scale), one.gives, part.scale, largest, one.label));
  if (others.length) rows.push(row(`the other ${others.length} together`, "", rest, part.scale, largest, null, false));
  return el("ul", { class: "parts" }, rows);
}

function row(name, value, gives, { factor, unit }, largest, label, drawn = true) {
  const kind = kindOf(gives, largest);
  const bar = el("i", { class: kind });
  bar.style.width = `${Math.min(1, Math.abs(gives) / largest) * 50}%`;
  bar.style[gives < 0 ? "right" : "left"] = "50%";
  const text = signedFixed(gives * factor, placesFor(largest * factor));
  return el("li", {}, el("span", { class: "who", title: label && label !== name ? clip(label, 80) : null }, name, value ? el("span", { class: "alias" }, value) : null),
    el("span", { class: drawn ? "track parted" : "undrawn", "aria-hidden": "true" }, drawn ? bar : null), el("b", { class: kind }, `${text}${unit ? ` ${unit}` : ""}`));
}

/** Upper part: the inputs as measured, each point in the colour of its effect. Lower part: the contributions. */
function drawWindow(host, parts, { scale: { factor, unit }, zone }) {
  const known = parts.filter(({ value }) => value !== null && Number.isFinite(value));
  const single = known.length > 1 && new Set(parts.map(({ ms }) => ms)).size === parts.length;
  const upper = single ? 116 : 0;
  const { root, box } = frame(host, 190 + upper, { left: 58, right: 14, top: 24, bottom: 28 });
  const step = Math.min(...parts.slice(1).map(({ ms }, index) => ms - parts[index].ms).filter(Boolean));
  const x = scale(parts[0].ms, parts.at(-1).ms + step, box.left, box.right);
  timeAxis(root, box, x, parts[0].ms, parts.at(-1).ms + step, zone);
  const largest = largestOf(parts);
  if (single) drawInputs(root, { ...box, bottom: box.top + upper - 34 }, x, known.map((one) => ({ ...one, at: one.ms + step / 2 })), largest, factor, unit);
  drawBars(root, { ...box, top: box.top + upper }, x, parts, step, largest, factor, unit);
}

function drawInputs(root, box, x, known, largest, factor, unit) {
  const values = known.map(({ value }) => value * factor);
  const steps = ticks(...axisRange(values), 3);
  const y = scale(steps[0], steps.at(-1), box.bottom, box.top);
  valueAxis(root, box, y, steps, "");
  root.append(svg("text", { class: "unit", x: box.left - 8, y: box.top - 12, "text-anchor": "start" }, `input${unit ? `, ${unit}` : ""}`));
  root.append(svg("path", { class: "input", d: line(known.map(({ at, value }) => [at, value * factor]), x, y) }));
  const slightFirst = [...known].sort((a, b) => Math.abs(a.gives) - Math.abs(b.gives));
  root.append(...slightFirst.map(({ at, value, gives }) => svg("circle", { class: `part ${kindOf(gives, largest)}`, cx: x(at), cy: y(value * factor), r: 4 })));
}

function drawBars(root, box, x, parts, step, largest, factor, unit) {
  const sums = new Map();
  for (const { ms, gives } of parts) sums.set(ms, (sums.get(ms) || 0) + gives);
  const values = [...sums.values()].map((gives) => gives * factor);
  const steps = ticks(Math.min(0, ...values), Math.max(0, ...values), 4);
  const y = scale(steps[0], steps.at(-1), box.bottom, box.top);
  valueAxis(root, box, y, steps, "", (value) => signedNumber(value));
  root.append(svg("text", { class: "unit", x: box.left - 8, y: box.top - 12, "text-anchor": "start" }, `contribution${unit ? `, ${unit}` : ""}`));
  const wide = Math.max(2, x(parts[0].ms + step) - x(parts[0].ms) - 2);
  for (const [ms, gives] of sums) {
    const ends = [y(0), y(gives * factor)];
    const height = Math.max(1.5, Math.abs(ends[0] - ends[1]));
    root.append(svg("rect", { class: `part ${kindOf(gives, largest)}`, x: x(ms) + 1, width: wide, y: Math.min(...ends, y(0)), height }));
  }
}

/** Every input with its value and its contribution, in the order the model takes them. */
export function partsTable(part) {
  const { factor, unit } = part.scale;
  const head = ["Input", "Value", `Contribution${unit ? `, ${unit}` : ""}`].map((text) => el("th", { scope: "col" }, text));
  const rows = part.parts.map((one) => el("tr", {}, el("th", { scope: "row" }, nameOf(one, part)), el("td", {}, valueOf(one, part.scale) || "–"), el("td", {}, signedNumber(one.gives * factor))));
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)));
}
