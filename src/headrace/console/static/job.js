// One training job in full: how far it is, why it ended as it did, and its log as it is written.

import { get, send } from "./api.js";
import { confirmed } from "./ask.js";
import { copyable, el, refresh, say } from "./dom.js";
import { JOB, badge, when } from "./hubwords.js";
import { JobLog } from "./joblog.js";
import { duration, progress } from "./jobwords.js";
import { poll } from "./poll.js";
import * as who from "./who.js";
import { bytes, clip, count, sentence } from "./words.js";

const shown = { id: "", parts: null, job: null, name: "", error: null, said: "", poll: null, log: null, attempt: null };

export function open(host, id) {
  const parts = { title: el("h1", { tabindex: "-1" }), badges: el("p", { class: "badges" }), progress: el("div"), reason: el("p", { class: "note", "data-look": "bad" }), actions: el("div", { class: "buttons" }), said: el("p", { class: "said", role: "alert" }), facts: el("div"), log: el("div") };
  Object.assign(shown, { id, parts, job: null, name: "", error: null, said: "", log: null, attempt: null });
  host.replaceChildren(
    el("p", {}, el("a", { href: "#jobs", class: "back" }, "‹ Jobs")),
    el("section", { class: "card asset" }, el("div", { class: "asset-head" }, parts.title, parts.badges), parts.progress, parts.reason, parts.actions, parts.said, parts.facts),
    parts.log);
  parts.reason.hidden = true;
  say(parts.title, "Reading…");
  parts.title.focus({ preventScroll: true });
  scrollTo({ top: 0 });
  shown.poll = poll(look);
}

export function close() {
  shown.poll?.stop();
  shown.log?.stop();
  Object.assign(shown, { poll: null, log: null });
}

async function look() {
  const { id } = shown;
  let found = null;
  let error = null;
  try {
    found = await get(`/jobs/${encodeURIComponent(id)}`);
    if (!shown.name) shown.name = await nameOf(found.model);
  } catch (failed) {
    error = failed;
  }
  if (shown.id !== id || !shown.poll) return false;
  if (error && shown.job && !error.status) shown.said = "The platform does not answer: below is what was last seen.";
  else Object.assign(shown, { job: found, error, said: shown.said.startsWith("The platform") ? "" : shown.said });
  paint();
  return shown.job !== null && ["queued", "running"].includes(shown.job.state);
}

const nameOf = (model) => get(`/models/${encodeURIComponent(model)}`).then(({ name }) => name, () => model);

async function act(work, done) {
  shown.said = "";
  let good = true;
  try {
    await work();
    shown.said = done;
  } catch (error) {
    shown.said = sentence(error.message);
    good = false;
  }
  if (!shown.poll) return;
  shown.parts.said.dataset.look = good ? "good" : "warn";
  say(shown.parts.said, shown.said);
  shown.poll.now();
}

async function cancel({ id, state }) {
  const words = state === "running" ? ["Its processes are stopped at once. What it has written so far is thrown away; its log is kept."] : ["It leaves the queue. It can be queued again later."];
  if (await confirmed({ title: `Cancel the job of “${clip(shown.name, 60)}”?`, words, action: "Cancel the job" })) {
    await act(() => send("POST", `/jobs/${encodeURIComponent(id)}/cancel`), "");
  }
}

function actions(job) {
  const ended = !["queued", "running"].includes(job.state);
  const own = who.mine(job) && who.may("write");
  return [
    el("a", { class: "quiet", href: `#library/${job.model}`, "data-keep": "model" }, "Its model"),
    own && !ended ? el("button", { type: "button", class: "quiet risky", "data-keep": "cancel", onclick: () => cancel(job) }, "Cancel the job") : null,
    own && ["failed", "cancelled"].includes(job.state) ? el("button", { type: "button", class: "quiet strong", "data-keep": "retry", onclick: () => act(() => send("POST", `/jobs/${encodeURIComponent(job.id)}/retry`), "Queued once more.") }, "Queue it once more") : null,
  ].filter(Boolean);
}

const fact = (term, ...value) => el("div", {}, el("dt", {}, term), el("dd", {}, ...value));

function facts(job) {
  return el("dl", { class: "details" }, [
    fact("Id", copyable(job.id, "the id")), fact("Queued", `${when(job.created_ms)} by ${job.created_by}`), job.started_ms === null ? null : fact("Started", when(job.started_ms)), job.ended_ms === null ? null : fact("Ended", when(job.ended_ms)),
    fact("Attempt", `${job.attempt ? count(job.attempt) : "none yet"}${job.attempts > 1 ? `; its code may fail ${job.attempts} times` : ""}`), job.priority ? fact("Priority", count(job.priority)) : null,
    job.runner ? fact("Runner", job.runner) : null, job.exit_code === null ? null : fact("Exit code", String(job.exit_code)), job.peak_memory_bytes === null ? null : fact("Most memory", bytes(job.peak_memory_bytes)),
  ].filter(Boolean));
}

function paint() {
  const { parts, job, error } = shown;
  if (!job) {
    say(parts.title, error?.status === 404 ? "Not a job of ours" : "This could not be read");
    say(parts.said, sentence(clip(error?.message || "the platform does not answer", 400)));
    return;
  }
  say(parts.title, `${{ evaluate: "Evaluation", reproduce: "Second training" }[job.kind] || "Training"} of ${shown.name || job.model}`);
  const seconds = job.ended_ms === null ? Math.floor(Date.now() / 1000) : 0;
  refresh(parts.badges, [job.state, seconds], () => [badge(JOB[job.state]), el("span", { class: "small" }, duration(job))]);
  refresh(parts.progress, [job.state, job.progress, job.message], () => progress(job, shown.name) || []);
  say(parts.reason, sentence(job.reason));
  parts.reason.dataset.look = job.state === "failed" ? "bad" : "mute";
  parts.reason.hidden = !job.reason;
  refresh(parts.actions, [job.state, job.company, who.me()], () => actions(job));
  say(parts.said, shown.said);
  refresh(parts.facts, job, () => facts(job));
  paintLog(job);
}

/** The log begins with the first attempt; with each further one, which goes on below, it is read again. */
function paintLog(job) {
  const { parts } = shown;
  if (job.started_ms === null && !job.log_bytes) {
    if (job.state === "queued") refresh(parts.log, "waiting", () => el("section", { class: "card" }, el("h2", {}, "Log"), el("p", { class: "small" }, "It begins when the job does.")));
    return;
  }
  if (shown.log && shown.attempt === job.attempt) {
    shown.log.told(job);
    return;
  }
  shown.log?.stop();
  shown.attempt = job.attempt;
  shown.log = new JobLog(job);
  refresh(parts.log, job.attempt, () => shown.log.root);
  shown.log.follow();
}
