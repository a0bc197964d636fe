// The parts of the page that are words and lists: head line, readings, gate, quarantine, tables.

import { byId, choices, copyable, el, refresh, say } from "./dom.js";
import { spark } from "./chart.js";
import { reveal } from "./folds.js";
import { nextForecast } from "./numbers.js";
import {
  CONTENDERS, DAY, STATES, TERMS, brief, bytes, clip, clock, count, date, fixed, fullMoment, hourOf, localZone,
  many, number, offset, rate, sentence, signed, span, titled, zoneName,
} from "./words.js";

const SHOWN_DEVICES = 4;
/** From more devices than this on there is a box to find one. */
const SEARCHED = 8;
const SHOWN_DECISIONS = 4;
/** How a reading is posted by hand. */
const postPath = (topic) => `/ingest/${topic}`;

const devicesOf = (overview) => overview.topics.flatMap((topic) => topic.devices);

function ingestWords({ ingest, topics, known }) {
  const listed = new Set(topics.flatMap(({ devices: some }) => some.map(({ device }) => device))).size;
  const devices = known && known.topics > topics.length ? known.devices : listed;
  if (!ingest.messages) return "Waiting for the first reading";
  if (ingest.rate > 0.05) return `Receiving ${rate(ingest.rate)} readings/s from ${many(devices, "device")}`;
  const last = Math.max(0, ...topics.map(({ last_received_ms: ms }) => ms || 0));
  const when = last ? `, the last one ${span(Date.now() - last)} ago` : "";
  return `No readings arriving right now (${count(ingest.messages)} so far${when})`;
}

function modelWords({ models }) {
  if (!models.length) return "no model yet";
  const served = models.filter((model) => !model.shadow_of);
  const groups = { live: "learning", collecting: "collecting readings", waiting: "waiting", restarting: "restarting", busy: "computing", failed: "stopped by an error" };
  const words = [];
  for (const [state, verb] of Object.entries(groups)) {
    const size = served.filter((model) => model.state === state).length;
    if (size) words.push(`${words.length ? size : many(size, "model")} ${verb}`);
  }
  const candidates = models.filter((model) => model.shadow_of);
  const stopped = candidates.filter(({ state }) => state === "failed").length;
  if (candidates.length > stopped) words.push(many(candidates.length - stopped, "candidate in the shadow", "candidates in the shadow"));
  if (stopped) words.push(`${many(stopped, "candidate")} stopped by an error`);
  return words.join(", ");
}

function nextWords(details) {
  const due = details.map((detail) => [nextForecast(detail), detail.timezone]).filter(([ms]) => ms !== null);
  if (!due.length) return "";
  const [ms, zone] = due.sort((a, b) => a[0] - b[0])[0];
  const midnight = (ms + offset(ms, zone)) % DAY === 0;
  return `next forecast at ${midnight ? "local midnight" : `${clock(ms, zone)} (${zoneName(zone, ms)})`}`;
}

export function headline(overview, details) {
  const words = [ingestWords(overview), modelWords(overview), nextWords(details)].filter(Boolean).join("; ");
  say(byId("headline"), `${words}.`);
  say(byId("version"), overview.version);
  refresh(byId("addresses"), overview.addresses, () =>
    Object.entries(overview.addresses).filter(([, address]) => address).map(([name, address]) =>
      el("li", {}, el("span", { class: "term" }, name.toUpperCase()), copyable(address, `the ${name} address`))));
  const since = `Running since ${fullMoment(overview.started_ms, localZone())} (your time)`;
  const log = `log ${bytes(overview.ingest.log_bytes)}`;
  say(byId("foot"), `Headrace ${overview.version} · ${since} · ${many(overview.ingest.messages, "message")} · ${log}`);
}

// ---- live readings ---------------------------------------------------------------------------------------------------

const rates = new Map();

/** Keep the last two minutes of each topic's rate. */
export function remember(overview) {
  for (const { topic, rate: now } of overview.topics) {
    if (!rates.has(topic)) rates.set(topic, []);
    const kept = rates.get(topic);
    kept.push(now || 0);
    if (kept.length > 120) kept.shift();
  }
  for (const topic of rates.keys()) {
    if (!overview.topics.some((other) => other.topic === topic)) rates.delete(topic);
  }
}

const cards = new Map();
let everyDevice = false;

function makeCard() {
  const part = {
    device: el("span", { class: "name" }), topic: el("code", { class: "topic" }), rate: el("span", { class: "rate" }),
    spark: el("span", { class: "sparkline" }), time: el("p", { class: "event-time" }), tiles: el("dl", { class: "tiles" }),
    note: el("p", { class: "small" }), places: {},
    bad: el("button", { type: "button", class: "badge rejected", "data-state": "waiting", hidden: true, onclick: () => reveal("quarantine") }),
  };
  const title = el("h3", {}, part.device, el("span", { class: "on" }, " on "), part.topic);
  const flow = el("p", { class: "flow" }, part.spark, part.rate);
  part.root = el("article", { class: "card device" }, el("div", { class: "device-head" }, title, flow), part.bad, part.time, part.tiles, part.note);
  return part;
}

/** A number keeps as many decimals as any of the same unit has shown on the card, so that it does not jump about. */
function valueWords(value, places, unit) {
  if (typeof value === "boolean") return value ? "on" : "off";
  if (typeof value === "number") {
    const text = number(value, 4);
    if (text.includes("e")) return text;
    places[unit] = Math.max(places[unit] || 0, text.includes(".") ? text.length - text.indexOf(".") - 1 : 0);
    return fixed(value, places[unit]);
  }
  return value === null ? "–" : clip(String(value), 24);
}

function eventTime(ms, zone) {
  if (!ms) return "No event time in its readings";
  const age = Date.now() - ms;
  const when = `Latest reading made ${fullMoment(ms, zone)} (${zoneName(zone, ms)})`;
  if (age > DAY) return `${when}: recorded ${span(age)} ago, replayed now`;
  return age < -2 * 60_000 ? `${when}: ${span(age)} ahead of this computer's clock` : when;
}

function paintCard(part, topic, device, zone) {
  say(part.device, clip(device.device || "(no name)", 60));
  part.device.title = device.device;
  say(part.topic, clip(topic.topic, 80));
  part.topic.title = topic.topic;
  say(part.rate, `${rate(topic.rate)} /s · ${count(topic.messages)} so far`);
  say(part.bad, topic.quarantined ? `${many(topic.quarantined, "message")} not understood: see Quarantine` : "");
  part.bad.hidden = !topic.quarantined;
  spark(part.spark, rates.get(topic.topic) || [0]);
  say(part.time, eventTime(device.time_ms, zone));
  const names = Object.keys(device.fields).slice(0, 24);
  refresh(part.tiles, names, () =>
    names.map((name) => el("div", { class: "tile" }, el("dt", { title: name }, clip(name, 24)), el("dd", {}, el("b", {}), el("span", { class: "of" })))));
  const kind = (name) => device.units[name] || `of ${name}`;
  for (const name of names) valueWords(device.fields[name], part.places, kind(name));
  names.forEach((name, index) => {
    const [value, unit] = part.tiles.children[index].lastElementChild.children;
    say(value, valueWords(device.fields[name], part.places, kind(name)));
    value.classList.toggle("words", typeof device.fields[name] === "string");
    say(unit, ` ${clip(device.units[name] || "", 12)}`);  // most payloads name no units; nothing is better than "no unit"
  });
  const more = Object.keys(device.fields).length - names.length;
  say(part.note, more > 0 ? `and ${many(more, "more field")}` : "");
  part.note.hidden = !part.note.textContent;
}

export function readings(overview, zoneFor) {
  const host = byId("devices");
  const all = overview.topics.flatMap((topic) => topic.devices.map((device) => ({ topic, device })));
  const known = overview.known || { topics: overview.topics.length, devices: devicesOf(overview).length };
  const newest = known.topics > overview.topics.length ? `; the ${overview.topics.length} topics heard last are listed, “headrace inspect TOPIC” shows any other` : "";
  const wanted = filterOf(all.length, () => readings(overview, zoneFor));
  say(byId("readings-sum"), known.topics ? `${many(known.topics, "topic")}, ${many(known.devices, "device")}${newest}` : "");
  if (!all.length) {
    cards.clear();
    refresh(host, ["none", overview.addresses], () => noReadings(overview));
    return;
  }
  const matching = wanted ? all.filter(({ topic, device }) => `${topic.topic}\n${device.device}`.toLowerCase().includes(wanted)) : all;
  const shown = everyDevice || wanted ? matching.slice(0, 100) : matching.slice(0, SHOWN_DEVICES);
  const keys = shown.map(({ topic, device }) => JSON.stringify([topic.topic, device.device]));
  for (const key of cards.keys()) if (!keys.includes(key)) cards.delete(key);
  for (const key of keys) if (!cards.has(key)) cards.set(key, makeCard());
  const silent = overview.topics.filter(({ devices }) => !devices.length).map(({ topic, messages, quarantined }) => [topic, messages, quarantined]);
  refresh(host, [keys, all.length, silent, wanted], () =>
    [...keys.map((key) => cards.get(key).root), wanted ? found(wanted, matching.length, all.length) : moreDevices(all.length, overview, zoneFor), silentTopics(silent)].filter(Boolean));
  shown.forEach(({ topic, device }, index) => paintCard(cards.get(keys[index]), topic, device, zoneFor(device.device)));
}

/** What the reader looks for among many devices, in lower case; "" where there are few. */
function filterOf(total, repaint) {
  const input = byId("device-filter");
  byId("device-search").hidden = total <= SEARCHED;
  input.oninput = repaint;
  return total > SEARCHED ? input.value.trim().toLowerCase() : "";
}

function found(wanted, matching, total) {
  const text = matching ? `${count(matching)} of the ${many(total, "device")} listed` : `None of the ${many(total, "device")} listed`;
  return el("p", { class: "small" }, `${text} ${matching === 1 ? "has" : "have"} “${clip(wanted, 40)}” in the name. Others: headrace inspect TOPIC`);
}

function silentTopics(silent) {
  if (!silent.length) return null;
  const lines = silent.slice(0, 6).map(([topic, messages, quarantined]) =>
    el("li", {}, el("code", { class: "topic" }, clip(topic, 80)), `: ${many(messages, "message")}, ${quarantined ? `${count(quarantined)} not understood` : "no device named yet"}`));
  return el("ul", { class: "small silent", "aria-label": "Topics without readings" }, lines);
}

function moreDevices(total, overview, zoneFor) {
  if (total <= SHOWN_DEVICES) return null;
  const text = everyDevice ? "Show fewer" : `Show ${total - SHOWN_DEVICES} more devices`;
  return el("button", { type: "button", class: "more", onclick: () => { everyDevice = !everyDevice; readings(overview, zoneFor); } }, text);
}

function noReadings({ addresses }) {
  const http = addresses.http || location.origin;
  const token = `Authorization: Bearer $(headrace token --url ${http})`;
  const [host, port] = (addresses.mqtt || "127.0.0.1:1883").split(":");
  return el("div", { class: "card empty" },
    el("p", {}, "Nothing has arrived yet. Post a reading over HTTP:"),
    copyable(`curl -H "${token}" ${http}${postPath("plant/demo/reading")} -d '{"power": 3200}'`, "the curl command"),
    el("p", {}, "or publish one over MQTT:"),
    copyable(`mosquitto_pub -h ${host} -p ${port || 1883} -t plant/demo/reading -m '{"power": 3200}'`, "the MQTT command"));
}

// ---- models ----------------------------------------------------------------------------------------------------------

export function picker(pairs, selected, onchoose) {
  const host = byId("picker");
  const plain = pairs.map(({ id, model, key }) => [id, model.name, key, model.state, model.shadow_of]);
  refresh(host, [plain, selected], () => {
    if (pairs.length < 2) return [];
    if (pairs.length > 6) {
      const menu = el("select", { id: "pick", onchange: () => onchoose(menu.value) },
        pairs.map(({ id, model, key }) => el("option", { value: id }, `${model.name} · ${key ?? "no device yet"} (${STATES[model.state] || model.state})`)));
      menu.value = selected;
      return [el("label", { for: "pick" }, "Model "), menu];
    }
    const options = pairs.map(({ id, model, key }) => ({
      value: id, label: `${titled(model.name, key)}${model.shadow_of ? " (candidate)" : ""}`, mark: model.state, title: STATES[model.state] || model.state,
    }));
    return el("fieldset", { class: "tabs" }, el("legend", { class: "unseen" }, "Model shown"), choices("model", options, selected, onchoose));
  });
}

export function modelHead(pair, overview) {
  const { model, key } = pair;
  say(byId("model-name"), titled(model.name, key));
  const badge = byId("model-state");
  say(badge, STATES[model.state] || model.state);
  badge.dataset.state = model.state;
  const facts = [
    `backend ${model.backend}`, `forecasts ${model.target}`, `from ${model.topics.join(", ")}`, model.shadow_of ? `candidate, not served: runs beside ${model.shadow_of}` : `serves the ${model.serve} version`,
    model.parent ? `started from ${model.parent.id}` : "",
    model.published ? `published ${many(model.published, "time")}` : "never published", model.lag ? `${many(model.lag, "reading")} behind` : "",
    ...Object.entries(model.dropped || {}).map(([why, size]) => `${count(size)} ${clip(why, 20)}`),
    model.snapshot ? brief(model.snapshot) : "",
  ];
  say(byId("model-facts"), facts.filter(Boolean).join(" · "));
  byId("model-facts").title = model.snapshot || "";
  const busy = model.state !== "live" && model.state !== "failed";
  byId("model-progress").hidden = !busy;
  byId("model-progress").firstElementChild.value = model.progress || 0;
  const percent = busy && model.progress ? ` (${number(model.progress * 100, 2)} %)` : "";
  const hint = model.state === "waiting" && !overview.ingest.messages ? " No readings have arrived yet." : "";
  say(byId("model-detail"), model.state === "live" && !model.detail ? "" : `${sentence(model.detail)}${percent}${hint}${busy ? remaining(model) : ""}`);
  byId("model-detail").hidden = !byId("model-detail").textContent;
}

const starts = new Map();
/** How long the rest of the collecting takes at the pace seen since this page was opened. */
function remaining({ name, state, progress }) {
  const now = { at: Date.now(), progress: progress || 0, state };
  const first = starts.get(name);
  if (!first || first.state !== state || first.progress > now.progress) starts.set(name, now);
  else if (now.at - first.at > 3_000 && now.progress > first.progress && now.progress < 1) {
    return `; about ${span(((1 - now.progress) * (now.at - first.at)) / (now.progress - first.progress))} to go at this pace`;
  }
  return "";
}

export function noModels() {
  byId("picker").replaceChildren();
  say(byId("model-name"), "No model yet");
  say(byId("model-state"), "");
  say(byId("model-facts"), "");
  byId("model-progress").hidden = true;
  byId("model-body").hidden = true;
  byId("model-detail").hidden = false;
  refresh(byId("model-detail"), "none", () => [
    "Describe one in headrace.yaml and apply it; it starts learning from what has already arrived.", el("br"),
    copyable("headrace apply -f headrace.yaml", "the apply command")]);
}

/** Skill of each contender as bars left and right of the hour-mean. */
export function yardsticks(found, names, unit, days) {
  const host = byId("bars");
  refresh(host, [found, unit, days], () => {
    if (!days) return el("p", { class: "small" }, "Not known yet: no forecast has been compared with what happened.");
    const reach = Math.max(0.3, ...names.map((name) => Math.min(1, Math.abs(found[name].skill ?? 0))));
    const rows = names.map((name) => bar(name, found[name], reach, unit));
    return [el("p", { class: "verdict" }, verdict(found)), el("ul", { class: "bars" }, rows),
      el("p", { class: "small" }, `Skill is 1 − MSE / MSE of hour-mean: above 0 is better than the mean of that hour. From the ${many(days, "forecast")} scored in the last 7 days.`)];
  });
}

function verdict(found) {
  const best = found.live?.skill ?? found.champion?.skill;
  if (best === null || best === undefined) return "Not scored yet.";
  if (best > 0.02) return `Yes: ${fixed(best * 100, 0)} % less squared error than the mean of that hour.`;
  return best < -0.02 ? `Not at present: ${fixed(-best * 100, 0)} % more squared error than the mean of that hour.` : "About as good as the mean of that hour.";
}

function bar(name, { skill, mae }, reach, unit) {
  const track = el("span", { class: `track ${name}`, "aria-hidden": "true" }, el("i"));
  const share = Math.min(1, Math.abs(skill ?? 0) / reach) * 50;
  track.firstElementChild.style.width = `${share}%`;
  track.firstElementChild.style[skill < 0 ? "right" : "left"] = "50%";
  const error = mae === null ? "no error known" : `off by ${number(mae * unit.factor)} ${unit.unit} on average`;
  return el("li", {}, el("span", { class: "who" }, CONTENDERS[name] || name), el("b", {}, name === "hour-mean" ? "0" : signed(skill)), track, el("span", { class: "small" }, error));
}

// ---- gate and quarantine -----------------------------------------------------------------------------------------------

let everyDecision = false;

export function decisions(detail) {
  const list = detail ? [...detail.decisions].reverse() : [];
  byId("gate").hidden = !detail?.scores.length && !list.length;
  const published = list.filter(({ publish }) => publish).length;
  say(byId("gate-note"), list.length ? `${titled(detail.name, detail.key)}: published ${published} of ${many(list.length, "decision")}` : "");
  refresh(byId("decisions"), [list, everyDecision], () => {
    if (!list.length) return el("li", { class: "small" }, "No decision yet. After each scored forecast the gate compares the learning model (challenger) with the published one (champion).");
    return list.slice(0, everyDecision ? 200 : SHOWN_DECISIONS).map((decision) => decided(decision, detail.timezone));
  });
  refresh(byId("decisions-more"), [list.length > SHOWN_DECISIONS, everyDecision], () => {
    if (list.length <= SHOWN_DECISIONS) return [];
    const text = everyDecision ? "Show fewer" : "Show all decisions";
    return el("button", { type: "button", class: "more", onclick: () => { everyDecision = !everyDecision; decisions(detail); } }, text);
  });
}

function decided({ origin_ms, publish, reason, champion, challenger, days, snapshot }, zone) {
  const when = hourOf(origin_ms, zone) === 0 ? date(origin_ms, zone) : `${date(origin_ms, zone)}, ${clock(origin_ms, zone)}`;
  const numbers = [
    challenger === null ? "" : `challenger ${fixed(challenger, 4)}`, champion === null ? "no champion yet" : `champion ${fixed(champion, 4)}`,
    `scaled MSE over ${many(days, "day")}`, publish && snapshot ? brief(snapshot) : "",
  ];
  return el("li", { "data-publish": publish ? "yes" : "no" },
    el("p", {}, el("span", { class: "badge", "data-state": publish ? "published" : "kept" }, publish ? "Published" : "Not published"), el("time", {}, when),
      el("span", { class: "reason" }, sentence(clip(reason, 240)))),
    el("p", { class: "small", title: snapshot }, numbers.filter(Boolean).join(" · ")));
}

export function quarantine({ quarantine: { count: total, recent } }) {
  say(byId("quarantine-note"), total ? `${many(total, "message")} not understood` : "empty");
  refresh(byId("rejected"), recent, () => {
    if (!recent.length) return el("li", { class: "small" }, "Every message so far was understood. One that no decoder understands is kept in the log and shown here with the reason.");
    return recent.slice(0, 8).map(({ position, topic, reason, preview, received_ms: ms }) =>
      el("li", {},
        el("p", {}, el("code", { class: "topic" }, clip(topic, 120)), el("time", {}, fullMoment(ms, localZone()))),
        el("p", { class: "reason" }, sentence(clip(reason, 240))),
        preview ? el("pre", { tabindex: "0", "aria-label": "Start of the message" }, clip(preview, 160)) : null,
        el("p", { class: "small" }, `position ${count(position)} in the log`)));
  });
}
