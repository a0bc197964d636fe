// A candidate that runs in the shadow, against what is served: the verdict in words, the days as a picture.

import { get, modelPath } from "./api.js";
import { drawDaily } from "./chart.js";
import { byId, copyable, el, refresh, say } from "./dom.js";
import { suggest } from "./folds.js";
import { clip, fixed, many, number, scaleOf, sentence, titled } from "./words.js";

const PAUSE = 10_000; // at a fast replay there are many days
const found = new Map(); // served model -> its shadows
const asked = new Map(); // served model -> when it was last asked for, and which scores were there

const servedBy = ({ models }) => [...new Set(models.map((model) => model.shadow_of).filter(Boolean))];

/** Load what is missing, and what new scores have changed. */
function load(overview, known, repaint) {
  for (const name of servedBy(overview)) {
    const scored = known.filter((detail) => detail.name === name).map(({ key, scores }) => [key, scores.at(-1)?.origin_ms]).join();
    const last = asked.get(name);
    if (last && (last.scored === scored || Date.now() - last.at < PAUSE)) continue;
    asked.set(name, { at: Date.now(), scored });
    get(modelPath(name, "/shadows", {})).then((shadows) => { found.set(name, shadows); repaint(); }, (error) => console.info(`candidates of ${name}: ${error.message}`));
  }
}

export function paintCandidates(overview, known, repaint) {
  const served = servedBy(overview);
  const fold = byId("candidates");
  fold.hidden = !served.length;
  if (!served.length) return;
  load(overview, known, repaint);
  for (const name of found.keys()) if (!served.includes(name)) found.delete(name);
  const compared = [...found.values()].flat().map((shadow) => ({ ...shadow, stopped: whyStopped(shadow, overview) }));
  const silent = overview.models.filter((model) => model.shadow_of && model.state === "failed" && !compared.some(({ candidate }) => candidate === model.name))
    .map(({ name, shadow_of: other, detail }) => ({ candidate: name, served: other, key: "", days: 0, stopped: detail || "an error" }));
  const list = [...compared, ...silent];
  const stopped = new Set(list.filter((one) => one.stopped).map(({ candidate }) => candidate)).size;
  suggest("candidates");
  const note = [compared.length ? many(compared.length, "comparison") : "no day has been compared yet", stopped ? `${many(stopped, "candidate")} stopped by an error` : ""];
  say(byId("candidates-note"), note.filter(Boolean).join(", "));
  if (!fold.open) return;
  const host = byId("candidate-list");
  refresh(host, [list, host.clientWidth], () =>
    (list.length ? list.map(comparison) : el("p", { class: "small" }, "The candidate learns and forecasts on the same readings, without being served. The first comparison comes with the first day that both have been scored on.")));
}

/** Why a candidate runs no more, or "": it stays stopped, so what was compared before says little. */
function whyStopped({ candidate, failed }, { models }) {
  const model = models.find(({ name, shadow_of: other }) => other && name === candidate);
  if (!failed && model?.state !== "failed") return "";
  return (typeof failed === "string" && failed) || model?.detail || "an error";
}

/** One of: stopped, better, worse, no clear difference, too early. */
function outcome({ change, p, more_than_luck: sure, stopped }) {
  if (stopped) return ["failed", "Stopped by an error"];
  if (!sure || !Number.isFinite(change)) return ["kept", p === null || p === undefined ? "Too early to tell" : "No clear difference"];
  return change < 0 ? ["published", "Candidate is better"] : ["failed", "Candidate is worse"];
}

/** Mean squared errors as their roots: a number in the target's own unit. */
const root = (mse) => (Number.isFinite(mse) && mse >= 0 ? Math.sqrt(mse) : null);

/** The change of the squared error, as a figure and what it is a figure of. */
function difference(change) {
  if (!Number.isFinite(change)) return ["–", "squared error, against what is served"];
  const percent = number(Math.abs(change) * 100, 2);
  if (percent === "0" || Math.abs(change) < 5e-4) return ["none", "difference in squared error"];
  return [`${percent} %`, `${change < 0 ? "less" : "more"} squared error than what is served`];
}

function comparison(shadow) {
  const { candidate, served, key, days, change, p, verdict, unit, daily = [], mse_candidate: ours, mse_served: theirs, stopped } = shadow;
  const [state, text] = outcome(shadow);
  const points = daily.map((day) => ({ ms: Date.parse(`${day.day}T12:00Z`), candidate: root(day.candidate), served: root(day.served) }))
    .filter((day) => [day.ms, day.candidate, day.served].every(Number.isFinite));
  const won = points.filter((day) => day.candidate < day.served).length;
  const scale = scaleOf(unit, Math.max(0, ...points.flatMap((day) => [day.candidate, day.served])));
  const inUnit = (mse) => (root(mse) === null ? "–" : `${number(root(mse) * scale.factor)}${scale.unit ? ` ${scale.unit}` : ""}`);
  const figures = [difference(change), [`${won} of ${points.length}`, "days won"], [Number.isFinite(p) ? (p < 0.001 ? "< 0.001" : fixed(p, 3)) : "–", "p of a paired test"]];
  const head = el("div", { class: "model-line" }, el("h3", {}, `${clip(candidate, 60)} `, el("span", { class: "on" }, "against"), ` ${clip(titled(served, key), 80)}`), el("span", { class: "badge", "data-state": state }, text));
  const notes = `Typical error (root of the mean square) over ${many(days, "day")}: candidate ${inUnit(ours)}, served ${inUnit(theirs)}.${Number.isFinite(p) ? " p: how often luck alone makes a difference this large." : ""}`;
  return el("article", { class: "comparison" }, head,
    stopped ? el("p", { class: "notice" }, `Stopped by an error: ${clip(stopped, 400)}${points.length ? ". The days before it are below" : ""}.`) : null,
    verdict && (!stopped || points.length) ? el("p", { class: "verdict" }, `${sentence(clip(verdict, 600))}.`) : null,
    points.length ? el("div", { class: "compared" },
      el("dl", { class: "sums" }, figures.map(([value, name]) => el("div", { class: "sum" }, el("dt", {}, name), el("dd", {}, value)))),
      el("div", {}, legend(candidate, served), picture(points, scale))) : null,
    points.length ? el("p", { class: "small" }, notes) : null,
    state === "published" ? el("p", { class: "small" }, "To serve it instead: ", copyable(`headrace promote ${candidate}`, "the promote command")) : null);
}

function legend(candidate, served) {
  return el("ul", { class: "legend", "aria-label": "Legend" },
    el("li", {}, el("i", { class: "key live" }), `${clip(candidate, 40)} (candidate)`), el("li", {}, el("i", { class: "key champion" }), `${clip(served, 40)} (served)`),
    el("li", {}, el("i", { class: "key gap better" }), "candidate better"), el("li", {}, el("i", { class: "key gap worse" }), "worse"));
}

function picture(points, scale) {
  const chart = el("div", { class: "chart" });
  if (points.length) queueMicrotask(() => drawDaily(chart, points, scale)); // once it stands in the page and has a width
  return chart;
}
