// Training jobs: what runs, what waits, what has been; one of them in full at #jobs/ID.

import { get } from "./api.js";
import { choices, copyable, el, refresh, say } from "./dom.js";
import { JOB, ago, badge, itemsOf, when } from "./hubwords.js";
import * as job from "./job.js";
import { duration, progress } from "./jobwords.js";
import { poll } from "./poll.js";
import { clip, count } from "./words.js";

const MOST = 200;
const KIND = { evaluate: "evaluation", reproduce: "trained once more" };
const jobs = { parts: null, list: [], names: new Map(), namedAt: 0, loaded: false, error: "", state: "all", poll: null, opened: "", from: "" };

const running = ({ state }) => state === "running" || state === "queued";

async function look() {
  try {
    jobs.list = itemsOf(await get(`/jobs?limit=${MOST}`));
    Object.assign(jobs, { loaded: true, error: "" });
    await learnNames();
  } catch (error) {
    jobs.error = error.message;
  }
  if (jobs.poll) paint();
  return jobs.list.some(running);
}

/** Names of the models that the jobs train: asked for when one is not known, at most twice a minute. */
async function learnNames() {
  if (jobs.list.every(({ model }) => jobs.names.has(model)) || Date.now() - jobs.namedAt < 30_000) return;
  jobs.namedAt = Date.now();
  try {
    for (const { id, name } of itemsOf(await get(`/models?limit=${MOST}`))) jobs.names.set(id, name);
  } catch (error) {
    console.info(`names of models: ${error.message}`);
  }
}

// ---- the list --------------------------------------------------------------------------------------------------------

function build(host) {
  const parts = { sum: el("p", { class: "aside" }), rows: el("div", { class: "hub" }), list: el("div", { class: "hub" }), detail: el("div", { class: "hub" }) };
  const options = [{ value: "all", label: "All" }, ...["running", "queued", "done", "failed", "cancelled"].map((value) => ({ value, label: JOB[value][1] }))];
  parts.list.append(
    el("div", { class: "title" }, el("h1", { tabindex: "-1" }, "Jobs"), parts.sum),
    el("div", { class: "tools" }, el("fieldset", { class: "span" }, el("legend", { class: "unseen" }, "State"), choices("job-state", options, "all", (value) => { jobs.state = value; paint(); }))),
    parts.rows);
  host.replaceChildren(parts.list, parts.detail);
  return parts;
}

/** As the queue takes them: higher priority first, then the older one. */
const inQueue = (list) => list.filter(({ state }) => state === "queued").sort((a, b) => b.priority - a.priority || a.created_ms - b.created_ms);

function paint() {
  const { parts } = jobs;
  const queue = inQueue(jobs.list);
  const active = jobs.list.filter(({ state }) => state === "running");
  const past = jobs.list.filter((one) => !running(one)).sort((a, b) => (b.ended_ms ?? b.created_ms) - (a.ended_ms ?? a.created_ms));
  say(parts.sum, jobs.loaded ? `${count(active.length)} running, ${count(queue.length)} queued, ${jobs.list.length < MOST ? count(past.length) : `the last ${count(past.length)}`} ended` : "");
  const groups = [["Running", active], ["Queue", queue], ["History", past]].map(([title, list]) => [title, list.filter(({ state }) => jobs.state === "all" || state === jobs.state)]);
  const seconds = active.length ? Math.floor(Date.now() / 1000) : Math.floor(Date.now() / 60_000);
  refresh(parts.rows, [jobs.error, jobs.loaded, groups, [...jobs.names], seconds], () => [
    jobs.error ? el("p", { class: "notice", role: "alert" }, `The jobs could not be read: ${clip(jobs.error, 300)}`) : null,
    ...(jobs.loaded ? sections(groups) : [el("p", { class: "asking" }, jobs.error ? "" : "Reading the jobs…")]),
  ].filter(Boolean));
  comeBack();
}

/** The focus goes back to where the reader left the list, as soon as it is drawn. */
function comeBack() {
  if (!jobs.from || !jobs.loaded) return;
  jobs.parts.list.querySelector(`[data-keep="${CSS.escape(jobs.from)}"]`)?.focus();
  jobs.from = "";
}

function sections(groups) {
  if (!jobs.list.length) {
    return [el("div", { class: "card empty" }, el("p", {}, "No model has been trained here yet. A job starts when a model is registered with its code and recipe:"), copyable("headrace model train my-model/", "the command that trains a model"))];
  }
  const filled = groups.filter(([, list]) => list.length);
  if (!filled.length) return [el("p", { class: "card small" }, "No job is in this state.")];
  return filled.map(([title, list]) => el("section", { class: "card list" }, el("h2", {}, title), el("ul", { class: "jobs" }, list.map((one, index) => line(one, title === "Queue" ? index : null)))));
}

function line(one, place) {
  const name = jobs.names.get(one.model) || one.model;
  const facts = [
    KIND[one.kind] || "",
    place === null ? duration(one) : `${place === 0 ? "next" : `${place + 1}. in the queue`}, ${duration(one)}`,
    one.priority ? `priority ${one.priority}` : "", one.attempt > 1 ? `attempt ${one.attempt}` : "",
    one.ended_ms === null ? "" : `ended ${ago(one.ended_ms)}`, `by ${clip(one.created_by, 40)}`,
  ];
  return el("li", {},
    el("p", { class: "job-head" }, el("a", { href: `#jobs/${one.id}`, "data-keep": one.id, class: "name" }, clip(name, 80)), badge(JOB[one.state]), el("span", { class: "small", title: one.ended_ms ? when(one.ended_ms) : null }, facts.filter(Boolean).join(" · "))),
    progress(one, name), one.reason ? el("p", { class: "reason small" }, clip(one.reason, 240)) : null);
}

// ---- the view --------------------------------------------------------------------------------------------------------

export function show(host, id, moved) {
  jobs.parts ??= build(host);
  const { parts } = jobs;
  const before = jobs.opened;
  jobs.opened = id;
  parts.list.hidden = Boolean(id);
  parts.detail.hidden = !id;
  job.close();
  if (id) {
    jobs.poll?.stop();
    jobs.poll = null;
    job.open(parts.detail, id);
    return;
  }
  if (!jobs.poll) jobs.poll = poll(look);
  jobs.from = moved ? "" : before;
  paint();
}

export function hide() {
  job.close();
  jobs.poll?.stop();
  jobs.poll = null;
}
