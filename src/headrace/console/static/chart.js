// Small SVG charts, drawn at the size of the box they stand in, so that text is never scaled.

import { svg } from "./dom.js";
import { drawable } from "./numbers.js";
import { DAY, HOUR, clip, clock, dayName, midnights, number, offset, shortDay } from "./words.js";

export const LETTER = 6.6; // mean width of a 12 px digit or letter, for keeping labels apart
const LONGEST_UNIT = 24;

/** Round tick values covering low..high, at most about `wanted` of them. */
export function ticks(low, high, wanted) {
  const rough = (high - low || 1) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let index = Math.floor(low / step + 1e-9); index * step < high + step * (1 - 1e-9); index += 1) found.push(index * step);
  return found;
}

/** Path through [[x, y|null], …]; what cannot be drawn breaks the line. */
export function line(points, x, y) {
  let path = "";
  let pen = "M";
  for (const [ms, value] of points) {
    if (!drawable(value)) { pen = "M"; continue; }
    path += `${pen}${x(ms).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
  }
  return path;
}

export function band(upper, lower, x, y) {
  const corner = ([ms, value]) => `${x(ms).toFixed(1)} ${y(value).toFixed(1)}`;
  const both = upper.map((point, index) => [point, lower[index]]).filter(([high, low]) => low && drawable(high[1]) && drawable(low[1]));
  if (!both.length) return "";
  return `M${[...both.map(([high]) => corner(high)), ...both.map(([, low]) => corner(low)).reverse()].join("L")}Z`;
}

export function frame(host, height, margin) {
  const width = Math.max(240, host.clientWidth);
  const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const box = { left: margin.left, right: width - margin.right, top: margin.top, bottom: height - margin.bottom };
  host.replaceChildren(root);
  return { root, box, width, height };
}

/** Pixels left of the axis for its longest label. */
export const labelRoom = (steps) => Math.max(46, Math.max(...steps.map((value) => number(value).length)) * LETTER + 16);

export const scale = (from, to, low, high) => (value) => low + ((value - from) / (to - from || 1)) * (high - low);

export function valueAxis(root, box, y, values, unit, text = number) {
  for (const value of values) {
    root.append(
      svg("line", { class: value === 0 ? "zero" : "rule", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }),
      svg("text", { class: "tick", x: box.left - 8, y: y(value) + 4, "text-anchor": "end" }, text(value)),
    );
  }
  if (!unit) return;
  const fits = unit.length * (LETTER + 1) < box.left - 8; // bold
  const name = svg("text", { class: "unit", x: fits ? box.left - 8 : 2, y: box.top - 12, "text-anchor": fits ? "end" : "start" }, clip(unit, LONGEST_UNIT));
  if (unit.length > LONGEST_UNIT) name.append(svg("title", {}, unit));
  root.append(name);
}

/** Days on the time axis: a line at each local midnight, a label centred on its day or, when crowded, at some midnights. */
export function dayAxis(root, box, x, from, to, zone) {
  const days = midnights(from, to, zone);
  const wide = x(from + DAY) - x(from);
  const long = 10 * LETTER;
  const every = Math.max(1, Math.ceil((6 * LETTER + 14) / wide));
  let edge = -Infinity;
  days.forEach((ms, index) => {
    if (wide >= 12 || index % every === 0) root.append(svg("line", { class: "day", x1: x(ms), x2: x(ms), y1: box.top, y2: box.bottom + 5 }));
    const text = wide > long + 10 ? dayName(ms, zone) : shortDay(ms, zone);
    const size = text.length * LETTER;
    const middle = Math.min(box.right, x(ms + DAY));
    const centre = every === 1 ? (x(ms) + middle) / 2 : x(ms);
    if ((every === 1 && middle - x(ms) < size + 4) || index % every || centre - size / 2 < edge + 8) return;
    if (centre + size / 2 > box.right + 10 || centre - size / 2 < box.left - 30) return;
    edge = centre + size / 2;
    root.append(svg("text", { class: "tick", x: centre, y: box.bottom + 19, "text-anchor": "middle" }, text));
  });
  if (wide > 150) {
    for (const ms of midnights(from, to, zone, 12 * HOUR)) {
      root.append(svg("line", { class: "noon", x1: x(ms), x2: x(ms), y1: box.bottom, y2: box.bottom + 4 }));
    }
  }
}

/** Hours on a time axis, for a stretch of a few days: round local times, the day's name at its midnight. */
export function timeAxis(root, box, x, from, to, zone) {
  const most = Math.max(2, Math.floor((box.right - box.left) / (10 * LETTER + 12)));
  const step = [1 / 6, 0.5, 1, 2, 3, 6, 12].map((hours) => hours * HOUR).find((size) => (to - from) / size <= most);
  if (!step) {
    dayAxis(root, box, x, from, to, zone);
    return;
  }
  for (let local = Math.ceil((from + offset(from, zone)) / step) * step; ; local += step) {
    const ms = local - offset(local - offset(local, zone), zone);
    if (ms > to) return;
    const midnight = local % DAY === 0;
    root.append(svg("line", { class: "day", x1: x(ms), x2: x(ms), y1: midnight ? box.top : box.bottom, y2: box.bottom + 5 }));
    if (x(ms) > box.right - 3 * LETTER) continue;
    root.append(svg("text", { class: midnight ? "tick midnight" : "tick", x: x(ms), y: box.bottom + 19, "text-anchor": "middle" }, midnight ? dayName(ms, zone) : clock(ms, zone)));
  }
}

/** The main figure. `view` holds what to draw, all values already in the unit of the axis; returns what a cursor needs. */
export function drawForecast(host, view) {
  const narrow = host.clientWidth < 560;
  const steps = ticks(view.low, view.high, narrow ? 4 : 5);
  const { root, box } = frame(host, narrow ? 270 : 350, { left: labelRoom(steps), right: 14, top: 40, bottom: 28 });
  const x = scale(view.from, view.to, box.left, box.right);
  const y = scale(steps[0], steps.at(-1), box.bottom, box.top);
  for (const [from, to] of view.nights) {
    root.append(svg("rect", { class: "night", x: x(from), width: Math.max(0, x(to) - x(from)), y: box.top, height: box.bottom - box.top }));
  }
  dayAxis(root, box, x, view.from, view.to, view.zone);
  valueAxis(root, box, y, steps, view.unit || "no unit");
  for (const { current, points, low, high } of view.forecasts) {
    if (low) root.append(svg("path", { class: current ? "band current" : "band", d: band(high, low, x, y) }));
    root.append(svg("path", { class: current ? "forecast current" : "forecast", d: line(points, x, y) }));
    if (current) root.append(...dots(points, x, y));
  }
  if (view.persistence) root.append(svg("path", { class: "persistence", d: line(view.persistence, x, y) }));
  root.append(svg("path", { class: "actual", d: line(view.actual, x, y) }));
  for (const ms of view.published) {
    const at = x(ms);
    root.append(svg("path", { class: "published", d: `M${at} ${box.top - 1}l-5 -8h10Z` }));
  }
  if (view.now !== null) nowMarker(root, box, x(view.now), view.nowLabel);
  root.append(svg("g", { class: "picked" }), svg("g", { class: "cursor" }));
  return { root, x, y, box, from: view.from, to: view.to };
}

/** The values of the current forecast as dots, where there is room: something to point at. */
function dots(points, x, y) {
  if (points.length < 2 || x(points[1][0]) - x(points[0][0]) < 6) return [];
  return points.filter(([, value]) => drawable(value)).map(([ms, value]) => svg("circle", { class: "forecast", cx: x(ms), cy: y(value), r: 2.6 }));
}

/** A ring around the value that is being explained; none when `ms` is null. */
export function drawPicked(drawn, ms, value) {
  const ring = ms === null ? [] : [
    svg("line", { x1: drawn.x(ms), x2: drawn.x(ms), y1: drawn.box.top, y2: drawn.box.bottom }),
    svg("circle", { cx: drawn.x(ms), cy: drawn.y(value), r: 6.5 })];
  drawn.root.querySelector(".picked").replaceChildren(...ring);
}

function nowMarker(root, box, at, label) {
  const half = (label.length * LETTER) / 2;
  const centre = Math.min(Math.max(at, box.left + half), box.right - half);
  root.append(
    svg("line", { class: "now", x1: at, x2: at, y1: box.top - 12, y2: box.bottom }),
    svg("text", { class: "now-label", x: centre, y: box.top - 18, "text-anchor": "middle" }, label),
  );
}

/** A vertical line at `ms` with a dot on each series that has a value there. */
export function drawCursor(drawn, ms, dots) {
  const layer = drawn.root.querySelector(".cursor");
  layer.replaceChildren();
  if (ms === null) return;
  const at = drawn.x(ms);
  layer.append(svg("line", { x1: at, x2: at, y1: drawn.box.top, y2: drawn.box.bottom }));
  for (const { kind, value } of dots) {
    if (value !== null && value !== undefined) layer.append(svg("circle", { class: kind, cx: at, cy: drawn.y(value), r: 4 }));
  }
}

/** Trailing skill of each contender; 0 is the yardstick. `series`: [{ms, n, skill: {name: value|null}}]. */
export function drawSkill(host, series, names, zone) {
  const narrow = host.clientWidth < 560;
  const { root, box } = frame(host, narrow ? 220 : 260, { left: 46, right: 14, top: 16, bottom: 28 });
  const all = series.flatMap(({ skill }) => names.map((name) => skill[name])).filter((value) => value !== null);
  const steps = ticks(Math.max(-1, Math.min(-0.2, ...all)), Math.min(1, Math.max(0.2, ...all)), 5);
  const y = scale(steps[0], steps.at(-1), box.bottom, box.top);
  const within = (value) => (value === null ? null : Math.max(steps[0], Math.min(steps.at(-1), value)));
  const from = series[0].ms - DAY / 2;
  const to = Math.max(series.at(-1).ms, series[0].ms + 4 * DAY) + DAY / 2;
  const x = scale(from, to, box.left, box.right);
  dayAxis(root, box, x, from, to, zone);
  valueAxis(root, box, y, steps, "", (value) => (value > 0 ? "+" : "") + number(value, 2));
  for (const name of names) {
    const points = series.map(({ ms, skill }) => [ms, within(skill[name])]);
    root.append(svg("path", { class: `skill ${name}`, d: line(points, x, y) }));
    for (const [ms, value] of points.filter(([, value]) => value !== null)) {
      if (series.length <= 16) root.append(svg("circle", { class: `skill ${name}`, cx: x(ms), cy: y(value), r: 2.5 }));
    }
  }
}

/** Trailing coverage against what the band promises. `series`: [{ms, all, active|null}]; shares from 0 to 1. */
export function drawCoverage(host, series, nominal, zone) {
  const { root, box } = frame(host, 118, { left: 44, right: 8, top: 10, bottom: 24 });
  const shares = series.flatMap(({ all, active }) => [all, active]).filter((share) => share !== null);
  const lowest = Math.max(0, Math.floor(20 * (Math.min(nominal, ...shares) - 0.02)) / 20);
  const y = scale(lowest, 1, box.bottom, box.top);
  const from = series[0].ms - DAY / 2;
  const to = Math.max(series.at(-1).ms, series[0].ms + 4 * DAY) + DAY / 2;
  const x = scale(from, to, box.left, box.right);
  const percent = (share) => `${Math.round(share * 100)} %`;
  const marks = [lowest, nominal, 1].filter((share, index, all) => index === 1 || Math.abs(y(share) - y(all[1])) > 14);
  dayAxis(root, box, x, from, to, zone);
  valueAxis(root, box, y, marks, "", percent);
  root.append(svg("line", { class: "nominal", x1: box.left, x2: box.right, y1: y(nominal), y2: y(nominal) }));
  for (const kind of ["all", "active"]) {
    const points = series.map((one) => [one.ms, one[kind]]);
    root.append(svg("path", { class: `covered ${kind}`, d: line(points, x, y) }));
    const [ms, last] = points.at(-1);
    if (last !== null) root.append(svg("circle", { class: `covered ${kind}`, cx: x(ms), cy: y(last), r: 2.6 }));
  }
}

/** Daily errors of a candidate and of what is served, joined day by day. `days`: [{ms, candidate, served}], in the target's unit. */
export function drawDaily(host, every, { factor, unit }) {
  const days = every.map(({ ms, candidate, served }) => ({ ms, candidate: candidate * factor, served: served * factor }));
  const steps = ticks(0, Math.max(1e-12, ...days.flatMap(({ candidate, served }) => [candidate, served])), 4);
  const { root, box } = frame(host, 190, { left: labelRoom(steps), right: 14, top: 26, bottom: 28 });
  const y = scale(steps[0], steps.at(-1), box.bottom, box.top);
  const from = days[0].ms - DAY / 2;
  const to = Math.max(days.at(-1).ms, days[0].ms + 4 * DAY) + DAY / 2;
  const x = scale(from, to, box.left, box.right);
  dayAxis(root, box, x, from, to, "UTC");
  valueAxis(root, box, y, steps, "");
  root.append(svg("text", { class: "unit", x: box.left - 8, y: box.top - 12, "text-anchor": "start" }, `error of the day${unit ? `, ${clip(unit, LONGEST_UNIT)}` : ""}`));
  for (const { ms, candidate, served } of days) {
    const kind = candidate <= served ? "better" : "worse";
    root.append(svg("line", { class: `gap ${kind}`, x1: x(ms), x2: x(ms), y1: y(candidate), y2: y(served) }));
  }
  for (const kind of ["served", "candidate"]) {
    root.append(svg("path", { class: `daily ${kind}`, d: line(days.map((day) => [day.ms, day[kind]]), x, y) }));
    if (days.length > 70) continue;
    root.append(...days.map((day) => svg("circle", { class: `daily ${kind}`, cx: x(day.ms), cy: y(day[kind]), r: 2.6 })));
  }
}

/** Lines over common places: `x` are numbers, or labels at equal distances; `series`: [{values}], null breaks a line. */
export function drawLines(host, x, series, low, high) {
  const steps = ticks(low, high, 4);
  const { root, box } = frame(host, 220, { left: labelRoom(steps), right: 16, top: 12, bottom: 28 });
  const numeric = x.every(drawable);
  const [from, to] = numeric ? [Math.min(...x), Math.max(...x)] : [0, x.length - 1];
  const across = scale(from, to, box.left + 8, box.right - 8);
  const y = scale(steps[0], steps.at(-1), box.bottom, box.top);
  valueAxis(root, box, y, steps, "");
  const marks = numeric ? ticks(from, to, 8).filter((value) => value >= from && value <= to).map((value) => [value, number(value)]) : x.map((label, index) => [index, typeof label === "number" ? number(label) : label]);
  const every = Math.ceil((Math.max(...marks.map(([, text]) => text.length)) * LETTER + 14) / ((box.right - box.left) / marks.length));
  marks.forEach(([value, text], index) => {
    if (index % every) return;
    const most = box.right + 16 - (text.length * LETTER) / 2;
    root.append(svg("text", { class: "tick", x: Math.min(across(value), most), y: box.bottom + 19, "text-anchor": "middle" }, text));
  });
  series.forEach(({ values, kind }, index) => {
    const points = values.slice(0, x.length).map((value, place) => [numeric ? x[place] : place, value]);
    root.append(svg("path", { class: `line s${index % 8} ${kind}`, d: line(points, across, y) }));
    if (x.length > 40) return;
    root.append(...points.filter(([, value]) => drawable(value)).map(([place, value]) => svg("circle", { class: `line s${index % 8}`, cx: across(place), cy: y(value), r: 2.4 })));
  });
}

/** Messages per second of the last minutes, as a little line. */
export function spark(host, values) {
  if (values.length < 2) return;
  const width = 108;
  const height = 26;
  const top = Math.max(...values, 1e-9) * 1.08;
  const x = (index) => 2 + (index / Math.max(1, values.length - 1)) * (width - 4);
  const y = (value) => height - 3 - (value / top) * (height - 6);
  const points = values.map((value, index) => `${x(index).toFixed(1)} ${y(value).toFixed(1)}`);
  const last = values.length - 1;
  host.replaceChildren(
    svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
      svg("path", { class: "spark-area", d: `M${x(0)} ${height - 2}L${points.join("L")}L${x(last)} ${height - 2}Z` }),
      svg("path", { class: "spark", d: `M${points.join("L")}` }),
      svg("circle", { class: "spark-end", cx: x(last), cy: y(values[last] ?? 0), r: 2.2 })),
  );
}
