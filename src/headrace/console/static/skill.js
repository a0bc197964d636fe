// Skill of the models over time, and their errors as a table.

import { drawSkill } from "./chart.js";
import { byId, el, refresh, say } from "./dom.js";
import { WINDOW_DAYS, nights, skillSeries } from "./numbers.js";
import { CONTENDERS, DAY, TERMS, count, fixed, many, placesFor, signed, titled } from "./words.js";

const NAMES = Object.keys(CONTENDERS);

let series = { print: "", value: [] };
/** The skill series, computed again only after a new score. */
function remembered(detail, names) {
  const { scores } = detail;
  const print = JSON.stringify([detail.name, detail.key, scores.length, scores.at(-1), names]);
  if (series.print !== print) series = { print, value: skillSeries(scores, names) };
  return series.value;
}

export function paintSkill(detail, known, keptDays) {
  byId("skill").hidden = !known.some(({ scores }) => scores.length);
  say(byId("skill-note"), detail ? `${titled(detail.name, detail.key)}, trailing ${WINDOW_DAYS} days` : "");
  if (!byId("skill").open) return;
  errorTable(known, keptDays);
  const scores = detail?.scores || [];
  const names = NAMES.filter((name) => name !== "hour-mean" && scores.some(({ contenders }) => contenders[name]));
  const points = names.length ? remembered(detail, names) : [];
  if (points.length) {
    drawSkill(byId("skill-chart"), points, names, detail.timezone);
    words(points, names);
    return;
  }
  refresh(byId("skill-legend"), [], () => []);
  byId("skill-chart").replaceChildren();
  say(byId("skill-readout"), "Drawn once the first forecast can be compared with what happened.");
}

function words(points, names) {
  const last = points.at(-1);
  refresh(byId("skill-legend"), [names, last], () => [
    ...names.map((name) => el("li", {}, el("i", { class: `key ${name}` }), `${CONTENDERS[name]} `, el("b", {}, signed(last.skill[name])))),
    el("li", {}, el("i", { class: "key hour-mean" }), `${CONTENDERS["hour-mean"]} `, el("b", {}, "0"))]);
  const short = points.filter(({ ms }) => ms < points[0].ms + (WINDOW_DAYS - 1) * DAY).length;
  const partial = short ? ` The first ${many(short, "point")} rest${short === 1 ? "s" : ""} on fewer than ${WINDOW_DAYS} days.` : "";
  const cut = points.some(({ skill }) => names.some((name) => skill[name] < -1)) ? " Values below −1 are drawn at −1." : "";
  say(byId("skill-readout"), `Each point: the ${WINDOW_DAYS} days up to it (now n = ${many(last.n, "forecast")}). Above 0 is better than the mean of that hour.${partial}${cut}`);
}

// ---- the table -------------------------------------------------------------------------------------------------------

/** Whether the series rests for hours of each day, as a photovoltaic plant does: only then are errors "by day" another thing. */
const rests = (detail) => Boolean(detail.actual.length) && nights(detail, detail.actual[0][0], detail.actual[0][0]).quiet;

/** Errors of every model and its yardsticks, as the API sums them up: the error in the target's own unit first. */
function errorTable(details, days) {
  const plain = details.map(({ name, key, unit, summary }) => [name, key, unit, summary]);
  refresh(byId("table"), plain, () => {
    const scored = details.filter(({ summary }) => Object.keys(summary).length);
    if (!scored.length) return el("p", { class: "small" }, "No forecast has been scored yet.");
    const byDay = scored.some(rests);
    const columns = [
      ["Model", ""], ["Error", "Mean absolute error, in the unit of the model's target (MAE)"], ["Skill", "1 − MSE / MSE of hour-mean: above 0 is better than the mean of that hour"],
      ["MSE", "Mean squared error of scaled values; no unit. For comparing models of one target"],
      ...(byDay ? [["by day", "MSE of the active steps only: those above 2 % of the scale"]] : []), ["Days", "Days with a scored forecast"],
    ];
    const head = el("tr", {}, columns.map(([text, help]) => el("th", { scope: "col", title: help || null }, text)));
    const caption = el("caption", {}, `Scored forecasts of the last ${days} days; compare rows of equal days. Error: mean absolute error. Skill: against hour-mean. MSE is scaled (no unit)${byDay ? "; by day: active steps only" : ""}.`);
    const largest = Math.max(...scored.flatMap(({ summary }) => Object.values(summary).map(({ mse }) => mse ?? 0)));
    return el("table", {}, caption, el("thead", {}, head), scored.map((detail) => tableGroup(detail, byDay, largest < 0.001 ? 6 : 4)));
  });
}

function tableGroup(detail, byDay, decimals) {
  const names = NAMES.filter((name) => detail.summary[name]);
  const largest = Math.max(0, ...names.map((name) => detail.summary[name].mae ?? 0));
  const unit = detail.display(largest);
  const title = el("tr", { class: "group" }, el("th", { scope: "rowgroup", colspan: byDay ? 6 : 5 }, `${titled(detail.name, detail.key)} `, el("small", {}, `error in ${unit.unit || "the target's own unit"}`)));
  const places = Math.min(3, placesFor(unit.factor * largest));
  const rows = names.map((name) => {
    const { mse, mae, skill, daylight_mse: daylight, days } = detail.summary[name];
    return el("tr", {}, el("th", { scope: "row" }, CONTENDERS[name], el("span", { class: "alias" }, TERMS[name])),
      el("td", {}, mae === null || mae === undefined ? "–" : fixed(mae * unit.factor, places)), el("td", {}, name === "hour-mean" ? "0" : signed(skill)),
      el("td", { class: "minor" }, fixed(mse, decimals)), byDay ? el("td", { class: "minor" }, fixed(daylight, decimals)) : null,
      el("td", {}, days === undefined ? "–" : count(days)));
  });
  return el("tbody", {}, title, rows);
}
