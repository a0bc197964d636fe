// A candidate that runs in the shadow, against what is served: the verdict in words, the days as a picture.

import { get, modelPath } from "./api.js";
import { drawDaily } from "./chart.js";
import { byId, el, refresh, say } from "./dom.js";
import { suggest } from "./folds.js";
import { clip, fixed, many, number, titled } from "./words.js";

const EVERY = 10_000; // a comparison changes once a day; at a fast replay there are many days
const found = new Map(); // served model -> its shadows
const asked = new Map();

const servedBy = ({ models }) => [...new Set(models.map((model) => model.shadow_of).filter(Boolean))];

/** Load what is missing or may have changed. */
function load(overview, repaint) {
  for (const name of servedBy(overview)) {
    const last = asked.get(name) || 0;
    if (Date.now() - last < EVERY) continue;
    asked.set(name, Date.now());
    get(modelPath(name, "/shadows", {})).then((shadows) => { found.set(name, shadows); repaint(); }, (error) => console.info(`candidates of ${name}: ${error.message}`));
  }
}

export function paintCandidates(overview, repaint) {
  const served = servedBy(overview);
  const fold = byId("candidates");
  fold.hidden = !served.length;
  if (!served.length) return;
  load(overview, repaint);
  for (const name of found.keys()) if (!served.includes(name)) found.delete(name);
  const list = [...found.values()].flat();
  suggest("candidates");
  say(byId("candidates-note"), list.length ? many(list.length, "comparison") : "no day has been compared yet");
  if (!fold.open) return;
  const host = byId("candidate-list");
  refresh(host, [list, host.clientWidth], () =>
    (list.length ? list.map(comparison) : el("p", { class: "small" }, "The candidate learns and forecasts on the same readings, without being served. The first comparison comes with the first day that both have been scored on.")));
}

/** One of: better, worse, no clear difference. */
function outcome({ change, more_than_luck: sure }) {
  if (!sure || !Number.isFinite(change)) return ["kept", "No clear difference"];
  return change < 0 ? ["published", "Candidate is better"] : ["failed", "Candidate is worse"];
}

function comparison(shadow) {
  const { candidate, served, key, days, change, p, verdict, daily = [], mse_candidate: ours, mse_served: theirs } = shadow;
  const [state, text] = outcome(shadow);
  const points = daily.map((day) => ({ ms: Date.parse(`${day.day}T12:00Z`), candidate: day.candidate, served: day.served }))
    .filter((day) => [day.ms, day.candidate, day.served].every(Number.isFinite));
  const won = points.filter((day) => day.candidate < day.served).length;
  const figures = [
    [Number.isFinite(change) ? `${change > 0 ? "+" : change < 0 ? "−" : ""}${number(Math.abs(change) * 100, 2)} %` : "–", "squared error"],
    [`${won} of ${points.length}`, "days won"], [Number.isFinite(p) ? (p < 0.001 ? "< 0.001" : fixed(p, 3)) : "–", "p of a paired test"],
  ];
  return el("article", { class: "comparison" },
    el("div", { class: "model-line" }, el("h3", {}, `${clip(candidate, 60)} `, el("span", { class: "on" }, "against"), ` ${clip(titled(served, key), 80)}`),
      el("span", { class: "badge", "data-state": state }, text)),
    el("p", { class: "verdict" }, clip(verdict || "", 400)),
    el("div", { class: "compared" },
      el("dl", { class: "sums" }, figures.map(([value, name]) => el("div", { class: "sum" }, el("dt", {}, name), el("dd", {}, value)))),
      el("div", {}, legend(candidate, served), picture(points)),
    ),
    el("p", { class: "small" }, `Scaled MSE over ${many(days, "day")}: candidate ${fixed(ours, 4)}, served ${fixed(theirs, 4)}. Lower is better. ${Number.isFinite(p) ? "p: how often so large a difference would come by luck between equals." : ""}`));
}

function legend(candidate, served) {
  return el("ul", { class: "legend", "aria-label": "Legend" },
    el("li", {}, el("i", { class: "key live" }), `${clip(candidate, 40)} (candidate)`), el("li", {}, el("i", { class: "key champion" }), `${clip(served, 40)} (served)`),
    el("li", {}, el("i", { class: "key gap better" }), "candidate better"), el("li", {}, el("i", { class: "key gap worse" }), "worse"));
}

function picture(points) {
  const chart = el("div", { class: "chart" });
  if (points.length) queueMicrotask(() => drawDaily(chart, points)); // once it stands in the page and has a width
  return chart;
}
