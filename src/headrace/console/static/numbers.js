// What the page computes from what the API gives it. No drawing, no words.

import { DAY, HOUR, hourOf, offset } from "./words.js";

export const WINDOW_DAYS = 7;

/** A path cannot go through null, NaN, or numbers so large that their differences overflow. */
export const drawable = (value) => typeof value === "number" && Math.abs(value) < 1e300;

/** Index of the first entry whose time is not below `ms`. */
function seek(points, ms) {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < ms) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Put points into a series kept in time order; a time that is there already takes the new value. */
export function merge(series, points) {
  for (const point of points) {
    const place = seek(series, point[0]);
    if (place < series.length && series[place][0] === point[0]) series[place] = point;
    else series.splice(place, 0, point);
  }
}

/** Put an object with `origin_ms` in its place; the same origin is replaced. */
export function insert(list, item) {
  const place = list.findIndex((other) => other.origin_ms >= item.origin_ms);
  if (place < 0) list.push(item);
  else if (list[place].origin_ms === item.origin_ms) list[place] = item;
  else list.splice(place, 0, item);
}

export function valueAt(series, ms) {
  const place = seek(series, ms);
  return place < series.length && series[place][0] === ms ? series[place][1] : null;
}

/** Forget what lies more than `days` before the newest entry. */
export function trim(detail, days) {
  const end = lastTime(detail);
  if (end === null) return;
  const start = end - days * DAY;
  detail.actual.splice(0, seek(detail.actual, start));
  for (const name of ["forecasts", "scores", "decisions"]) {
    detail[name] = detail[name].filter((item) => item.origin_ms >= start);
  }
}

/** End of the newest grid step with a known value. */
export function latest(detail) {
  for (let place = detail.actual.length - 1; place >= 0; place -= 1) {
    if (detail.actual[place][1] !== null) return detail.actual[place][0] + detail.step_ms;
  }
  return null;
}

export function lastTime(detail) {
  const ends = [latest(detail)];
  const forecast = detail.forecasts.at(-1);
  if (forecast) ends.push(forecast.origin_ms + forecast.values.length * forecast.step_ms);
  const known = ends.filter((ms) => ms !== null);
  return known.length ? Math.max(...known) : null;
}

/** When the next forecast is due, judged by the distance of the last two. */
export function nextForecast(detail) {
  const [before, last] = detail.forecasts.slice(-2);
  if (!before) return null;
  const every = last ? last.origin_ms - before.origin_ms : detail.horizon * detail.step_ms;
  return (last || before).origin_ms + every;
}

/** The forecast "as in the same steps one period earlier": a day earlier, or a horizon when that is longer. */
export function persistence(detail, forecast) {
  const length = forecast.values.length * forecast.step_ms;
  const back = Math.ceil(length / DAY) * DAY;
  return forecast.values.map((_, step) => {
    const ms = forecast.origin_ms + step * forecast.step_ms;
    return [ms, valueAt(detail.actual, ms - back)];
  });
}

/**
 * Stretches to shade: the hours in which nothing was ever produced, when there are such hours; else 18:00 to 06:00.
 * Returns {quiet: boolean, spans: [[from, to], …]}.
 */
export function nights(detail, from, to) {
  const peaks = new Array(24).fill(null);
  let top = 0;
  for (const [ms, value] of detail.actual) {
    if (value === null) continue;
    const hour = hourOf(ms, detail.timezone);
    peaks[hour] = Math.max(peaks[hour] ?? 0, Math.abs(value));
    top = Math.max(top, Math.abs(value));
  }
  let dark = peaks.map((peak) => peak !== null && peak <= 0.02 * top);
  const hours = dark.filter(Boolean).length;
  const quiet = top > 0 && hours >= 3 && hours <= 18 && !peaks.includes(null);
  if (!quiet) dark = peaks.map((_, hour) => hour < 6 || hour >= 18);
  const spans = [];
  const start = from - ((from + offset(from, detail.timezone)) % HOUR);
  for (let ms = start; ms < to; ms += HOUR) {
    if (!dark[hourOf(ms, detail.timezone)]) continue;
    const previous = spans.at(-1);
    if (previous && previous[1] === ms) previous[1] = ms + HOUR;
    else spans.push([ms, ms + HOUR]);
  }
  return { quiet, spans: spans.map(([a, b]) => [Math.max(a, from), Math.min(b, to)]) };
}

/** Mean over some scores of `field`, weighted by n, for contender `name`; null when it was in none of them. */
function pooled(scores, name, field) {
  let sum = 0;
  let n = 0;
  for (const { contenders } of scores) {
    const one = contenders[name];
    if (!one || one[field] === null || one[field] === undefined || !one.n) continue;
    sum += one[field] * one.n;
    n += one.n;
  }
  return n ? sum / n : null;
}

/** Errors and skill of each contender over `scores`; each skill against hour-mean on the very same forecasts. */
export function compare(scores, names) {
  const result = {};
  for (const name of names) {
    const shared = scores.filter(({ contenders }) => contenders[name] && contenders["hour-mean"]);
    const mse = pooled(shared, name, "mse");
    const mean = pooled(shared, "hour-mean", "mse");
    const skill = mse === null || !mean ? null : 1 - mse / mean;
    result[name] = { mse, mae: pooled(shared, name, "mae"), skill, n: shared.length };
  }
  return result;
}

/** The scores whose origin lies in the `WINDOW_DAYS` up to and including `ms`. */
export const trailing = (scores, ms) =>
  scores.filter(({ origin_ms }) => origin_ms > ms - WINDOW_DAYS * DAY && origin_ms <= ms);

/** [{ms, n, skill: {name: value}}, …]: trailing skill after each scored forecast. */
export function skillSeries(scores, names) {
  return scores.map(({ origin_ms }) => {
    const window = trailing(scores, origin_ms);
    const found = compare(window, names);
    return { ms: origin_ms, n: window.length, skill: Object.fromEntries(names.map((name) => [name, found[name].skill])) };
  });
}

/** Forecasts that do not overlap, chosen back from the last: what is drawn when a forecast is issued every hour. */
export function apart(forecasts) {
  const kept = [];
  for (const forecast of [...forecasts].reverse()) {
    const end = forecast.origin_ms + forecast.values.length * forecast.step_ms;
    if (!kept.length || end <= kept[0].origin_ms) kept.unshift(forecast);
  }
  return kept;
}

/** Lowest and highest value an axis has to show: 0 belongs to it only when the values touch it or nearly do. */
export function axisRange(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!drawable(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  if (low > 0 && low <= 0.2 * high) low = 0;
  if (high < 0 && high >= 0.2 * low) high = 0;
  if (high > low) return [low, high];
  const around = 0.05 * Math.abs(high);
  return around ? [low - around, high + around] : [0, 1];
}

/** The newest measured coverage that came with a forecast; null while nothing has been measured. */
export const measured = (forecasts) => forecasts.map(({ interval }) => interval).findLast((interval) => interval?.n) || null;

/**
 * [{ms, all, active}, …]: share of values inside the band in the `days` up to each scored forecast; `active` is null
 * where no step was active. `scored` is in time order.
 */
export function coverageSeries(scored, days) {
  const sum = { n: 0, covered: 0, active: 0, active_covered: 0 };
  const add = (one, sign) => { for (const name of Object.keys(sum)) sum[name] += sign * (one[name] || 0); };
  let first = 0;
  return scored.map((one) => {
    add(one, 1);
    for (; scored[first].origin_ms <= one.origin_ms - days * DAY; first += 1) add(scored[first], -1);
    return { ms: one.origin_ms, all: sum.n ? sum.covered / sum.n : null, active: sum.active ? sum.active_covered / sum.active : null };
  });
}

/** How many known values fell inside the band of the forecasts issued for them; hours shaded as quiet are left out. */
export function coverage(detail, forecasts) {
  let top = 0;
  for (const [, value] of detail.actual) top = Math.max(top, Math.abs(value ?? 0));
  let inside = 0;
  let known = 0;
  for (const { origin_ms, step_ms, values, low, high } of forecasts) {
    if (!low || !high) continue;
    values.forEach((value, step) => {
      const truth = valueAt(detail.actual, origin_ms + step * step_ms);
      if (truth === null || Math.max(Math.abs(truth), Math.abs(value)) <= 0.02 * top) return;
      known += 1;
      if (truth >= low[step] && truth <= high[step]) inside += 1;
    });
  }
  return { inside, known };
}
