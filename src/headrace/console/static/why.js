// "Why this value": what each input adds to or takes from one forecast value. Asked for by the reader, redrawn only then.

import { get, modelPath } from "./api.js";
import { byId, choices, el, refresh, say } from "./dom.js";
import { drawParts, partsTable } from "./whychart.js";
import { clip, clock, dayName, date, number, scaleOf, sentence, tiny, titled } from "./words.js";

const METHODS = {
  deeplift: "DeepLIFT, with the product rule for gates", integrated_gradients: "integrated gradients", linear: "exact, the model is a sum of its inputs' terms",
  sampling: "Shapley values, by sampling", python: "the model's own explainer",
};
const BASELINES = {
  profile: ["usual inputs", "every input at its mean for this time of day"],
  zero: ["all zero", "every input at zero"],
};

const why = { of: null, answer: null, failed: null, asking: null, baseline: null, onmark: null, onclose: null, back: null };

/** Explain one value: `of` = {name, key, timezone, forecast, step}. The focus goes to the panel when it was asked for by key. */
export function open(of, focus) {
  const same = why.of && why.of.name === of.name && why.of.key === of.key && why.of.forecast.origin_ms === of.forecast.origin_ms;
  if (!why.of) why.back = document.activeElement;
  why.of = of;
  byId("why").hidden = false;
  if (same && why.answer) paint();
  else ask();
  byId("why").scrollIntoView({ block: "nearest" });
  if (focus) byId("why").focus({ preventScroll: true });
}

export function close() {
  if (!why.of) return;
  const inside = byId("why").contains(document.activeElement);
  why.asking?.abort();
  Object.assign(why, { of: null, answer: null, failed: null, asking: null });
  byId("why").hidden = true;
  why.onmark(null);
  if (inside) byId("chart").focus({ preventScroll: true });
}

export const opened = () => why.of !== null;
export const redraw = () => { if (why.of) paint(); };

/** `onmark(picked, baseline)` is told what is being explained, null when nothing is any more. */
export function wire(onmark) {
  why.onmark = onmark;
  byId("why-close").addEventListener("click", close);
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !why.of || event.defaultPrevented) return;
    event.preventDefault();
    close();
  }, true);
}

export function baseline(name) {
  if (name in BASELINES) why.baseline = name;
}

async function ask() {
  why.asking?.abort();
  const asking = new AbortController();
  Object.assign(why, { asking, answer: null, failed: null });
  paint();
  const { name, key, forecast } = why.of;
  try {
    const path = modelPath(name, "/explanation", { key, origin_ms: forecast.origin_ms, baseline: why.baseline });
    const answer = await get(path, asking.signal);
    if (asking === why.asking) why.answer = answer;
  } catch (error) {
    if (error.name === "AbortError" || asking !== why.asking) return;
    why.failed = error;
  }
  if (asking !== why.asking) return;
  why.asking = null;
  paint();
}

/** What an error means to the reader, and whether asking again may help. */
function trouble({ status, said, wait }) {
  const soon = wait ? ` Try again in ${wait} s.` : "";
  const words = {
    404: [said || "This platform does not answer explanations; a newer Headrace does.", false],
    405: ["This platform does not answer explanations; a newer Headrace does.", false],
    429: [`Too many explanations are being worked out right now.${soon}`, true],
    501: [said || "This model has no way to explain itself.", false],
    503: [said || `The model cannot be asked right now: it may be restarting or busy.${soon}`, true],
  };
  if (status === undefined) return ["No answer from the platform.", true];
  return words[status] || [said || `The platform answered with error ${status}.`, status >= 500];
}

// ---- painting --------------------------------------------------------------------------------------------------------

function paint() {
  const { of, answer, failed } = why;
  why.onmark({ origin_ms: of.forecast.origin_ms, step: of.step }, answer ? answer.baseline : why.baseline);
  heading();
  controls();
  if (failed) return paintTrouble(failed);
  if (!answer) {
    refresh(byId("why-body"), "asking", () => el("p", { class: "asking" }, "Working out what each input did… (the first question of a while can take some seconds)"));
    return undefined;
  }
  const part = partOf(answer, of);
  if (!part) {
    refresh(byId("why-body"), "short", () => el("p", { class: "notice" }, "The explanation does not reach this step of the forecast."));
    return undefined;
  }
  return paintParts(answer, part);
}

/** One step of an explanation in the unit it is shown in; null when the answer does not have it. */
function partOf(answer, of) {
  const contributions = answer.contributions?.[of.step];
  const prediction = answer.prediction?.[of.step];
  if (!contributions || !Number.isFinite(prediction)) return null;
  const start = answer.base?.[of.step] ?? 0;
  const reach = Math.max(Math.abs(start), Math.abs(prediction), ...(answer.prediction || []).map(Math.abs));
  const scale = scaleOf(answer.unit, reach);
  const parts = answer.features.map(({ label, time_ms, value }, index) => ({ label, ms: time_ms ?? null, value: value ?? null, gives: contributions[index] ?? 0 }));
  const total = (sign) => parts.reduce((sum, { gives }) => sum + (gives * sign > 0 ? gives : 0), 0);
  return { parts, start, prediction, up: total(1), down: total(-1), scale, zone: of.timezone };
}

const withUnit = (value, { factor, unit }) => `${number(value * factor)}${unit ? ` ${unit}` : ""}`;

function heading() {
  const { forecast, step, timezone, unit } = why.of;
  const from = forecast.origin_ms + step * forecast.step_ms;
  const value = withUnit(forecast.values[step], scaleOf(unit, Math.max(...forecast.values.map(Math.abs))));
  say(byId("why-title"), `Why ${value} for ${dayName(from, timezone)}, ${clock(from, timezone)} to ${clock(from + forecast.step_ms, timezone)}?`);
  byId("why-title").title = `${titled(why.of.name, why.of.key)}, forecast made ${date(forecast.origin_ms, timezone)}, ${clock(forecast.origin_ms, timezone)}`;
}

function controls() {
  const { forecast, step } = why.of;
  const chosen = why.answer?.baseline || why.baseline || "profile";
  refresh(byId("why-controls"), [forecast.origin_ms, step, chosen, why.failed?.status], () => {
    const move = (to) => () => { why.of = { ...why.of, step: to }; paint(); };
    const button = (to, text, label) => el("button", { type: "button", class: "quiet", "data-keep": label, "aria-label": label, disabled: to < 0 || to >= forecast.values.length, onclick: move(to) }, text);
    if (why.failed && !trouble(why.failed)[1]) return [];
    const options = Object.entries(BASELINES).map(([value, [label, title]]) => ({ value, label, title }));
    const change = (name) => { why.baseline = name; ask(); };
    return [
      el("div", { class: "steps" }, button(step - 1, "‹ earlier", "Explain the step before"), button(step + 1, "later ›", "Explain the step after")),
      el("fieldset", { class: "span" }, el("legend", {}, "compared with"), choices("baseline", options, chosen, change))];
  });
}

function paintTrouble(error) {
  const [text, again] = trouble(error);
  refresh(byId("why-body"), ["failed", text, again], () => el("div", { class: "notice", role: "alert" }, el("p", {}, clip(text, 400)),
    again ? el("button", { type: "button", class: "quiet", "data-keep": "again", onclick: ask }, "Try again") : null));
}

function paintParts(answer, part) {
  const host = byId("why-body");
  refresh(host, [answer.name, answer.key, answer.origin_ms, answer.baseline, answer.method, why.of.step, host.clientWidth], () => {
    const chart = el("div", { class: "why-parts" });
    const table = el("details", {}, el("summary", {}, `All ${part.parts.length} inputs as a table`));
    table.addEventListener("toggle", () => { if (table.open && table.children.length < 2) table.append(partsTable(part)); });
    queueMicrotask(() => drawParts(chart, part)); // once it stands in the page and has a width
    return [...learnt(answer), sums(answer, part), chart, table, small(answer, part)];
  });
}

/** start + raised − lowered = forecast, as four figures in a row. */
function sums(answer, part) {
  const from = BASELINES[answer.baseline]?.[1] || "the reference input";
  const tile = (kind, sign, value, text) => el("div", { class: `sum ${kind}` }, el("dt", {}, text), el("dd", {}, sign, withUnit(value, part.scale)));
  return el("dl", { class: "sums" },
    tile("start", "", part.start, `start: ${from}`), tile("up", "+ ", part.up, "raised by inputs"),
    tile("down", "− ", Math.abs(part.down), "lowered by inputs"), tile("end", "= ", part.prediction, answer.as_issued === false ? "what the model would forecast now" : "forecast"));
}

/** An older forecast is explained by the model as it is now: said before anything else. */
function learnt(answer) {
  return answer.as_issued === false ? [el("p", { class: "notice" }, `${sentence(clip(answer.note || "The model has learnt since", 400))}.`)] : [];
}

function small(answer, part) {
  const gap = Math.abs(part.start + part.up + part.down - part.prediction);
  const sound = gap <= 1e-3 * Math.max(Math.abs(part.prediction), Math.abs(part.start), 1e-9);
  const method = METHODS[answer.method] || clip(String(answer.method ?? "unknown"), 60);
  const words = [`Method: ${method}.`];
  if (sound) words.push(`Checked: start and contributions add up to the forecast (error ${tiny(answer.completeness)}, allowed ${tiny(answer.tolerance)}).`);
  else words.push(`Beware: start and contributions miss the forecast by ${withUnit(gap, part.scale)}.`);
  if (answer.note && answer.as_issued !== false) words.push(`${sentence(clip(answer.note, 400))}.`);
  const shown = why.of.forecast.values[why.of.step];
  if (answer.as_issued === undefined && Math.abs(shown - part.prediction) > 0.005 * Math.max(Math.abs(shown), Math.abs(part.prediction), 1e-9)) {
    words.push(`The model itself says ${withUnit(part.prediction, part.scale)}; the forecast shown is ${withUnit(shown, part.scale)}: limits were applied after it, or the model has learned since.`);
  }
  return el("p", { class: sound ? "small" : "notice" }, words.join(" "));
}
