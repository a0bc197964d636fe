// Verifying a dataset or model on the ladder: each check as it ends, then the level that was reached, and what nobody looked at.

import { get, open as ask } from "./api.js";
import { choices, el, refresh, say } from "./dom.js";
import { badge, isModel, sizeOf } from "./hubwords.js";
import * as who from "./who.js";
import { bytes, clip, lasting, many, number, sentence } from "./words.js";

const MARKS = { running: ["…", "running"], passed: ["✓", "passed"], failed: ["✗", "failed"], skipped: ["–", "not checked"] };
const LEVELS = { L0: "L0 recorded", L1: "L1 intact", L2: "L2 re-derived" };
const LONGEST = 1e6; // letters of a line
const BROKEN = "The answer broke off before its end, so there is no verdict. Try it again.";

const shown = { id: "", level: "L1", stop: null, parts: null, began: 0, timer: null, lines: new Map(), took: new Map() };

/** A new page: what was running for the last one is ended. */
export function close() {
  shown.stop?.abort();
  clearInterval(shown.timer);
  Object.assign(shown, { id: "", level: "L1", stop: null });
}

// ---- which level ----------------------------------------------------------------------------------------------------

/** Why it cannot be made again; "" when it can. */
function underivable(record) {
  if (!isModel(record)) return "A dataset has no level L2: it was not derived from anything.";
  if (record.translation || record.snapshot) return "";
  if (!record.recipe) return "It was trained elsewhere, so that it cannot be made again here (level L2).";
  return record.reproducible === "never" ? "Level L2 cannot be reached: it is not reproducible." : "";
}

function explain(record) {
  const size = sizeOf(record);
  if (shown.level === "L0") return "Reads what is recorded from the chain and compares it with the record here. That takes a moment.";
  if (shown.level === "L1") return `Reads ${size ? `all ${bytes(size)} of its content` : "its content"}, too, and compares it with what is recorded. It takes about as long as reading the content from the disk.`;
  if (record.snapshot) return `Also replays ${many(record.snapshot.records, "record")} of the log, in the sandbox, to make the snapshot again. It takes as long as learning them did.`;
  if (record.translation) return "Also translates its original once more, in the sandbox, and compares the ONNX file byte by byte. It takes about as long as translating it did.";
  const took = shown.took.get(record.job);
  return `Also trains it again from its recipe and recorded inputs, in the sandbox, and compares the result byte by byte. It takes about as long as the training did${took ? `: ${lasting(took)}` : ""}.`;
}

async function learn(record, help) {
  if (!record.job || !who.mine(record) || shown.took.has(record.job)) return;
  const { started_ms: started, ended_ms: ended } = await get(`/jobs/${encodeURIComponent(record.job)}`).catch(() => ({}));
  if (!started || !ended) return;
  shown.took.set(record.job, Math.max(1000, ended - started));
  if (shown.id === record.id) say(help, explain(record));
}

// ---- the checks as they come -----------------------------------------------------------------------------------------

function line({ level, name, state, detail, seconds }) {
  const [mark, words] = MARKS[state] || MARKS.skipped;
  return el("li", { "data-state": state },
    el("span", { class: "mark", "aria-hidden": "true" }, mark), el("span", { class: "unseen" }, `${words}: `),
    el("span", { class: "check-name" }, el("span", { class: "rung" }, level), ` ${clip(sentence(name), 200)}`),
    state === "running" ? null : el("span", { class: "small took" }, seconds < 0.0005 ? "0 s" : `${number(seconds, 2)} s`), detail ? el("span", { class: "small check-detail" }, clip(detail, 1500)) : null);
}

/** How far it is, as far as a running check says a percentage; a bar that moves where none does. */
function far({ state, detail }) {
  const bar = shown.parts.progress.firstChild;
  const said = state === "running" ? /(\d+)\s?%/.exec(detail) : null;
  if (said) bar.value = Number(said[1]) / 100;
  else bar.removeAttribute("value");
}

/** A running check is replaced by what comes of it. */
function take(check) {
  far(check);
  const key = `${check.level} ${check.name}`;
  const fresh = line(check);
  if (shown.lines.has(key)) shown.lines.get(key).replaceWith(fresh);
  else shown.parts.checks.append(fresh);
  shown.lines.set(key, fresh);
  if (check.state === "running") return;
  shown.lines.delete(key); // a later one of the same name is another
  shown.parts.done += 1;
  tick();
}

/** Lines of JSON; whatever has a `checks` is the report. */
async function read(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let report = null;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    if (rest.length > LONGEST) throw new Error(BROKEN);
    for (const one of lines.filter((text) => text.trim())) {
      const found = JSON.parse(one);
      if ("checks" in found) report = found;
      else take(found);
    }
  }
  if (rest.trim()) throw new Error(BROKEN);
  if (!report) throw new Error(BROKEN);
  return report;
}

function verdict(report) {
  const look = !report.passed ? "failed" : report.level === "none" ? "waiting" : "live";
  const head = report.level === "none" ? "No level reached" : `Level ${LEVELS[report.level] || report.level}`;
  return el("div", { class: "verdict", "data-look": look },
    el("p", {}, badge([look, head]), report.passed ? null : el("b", {}, " At least one check failed.")),
    el("p", {}, `${sentence(clip(report.says, 1000))}.`),
    report.not_checked.length ? el("div", {}, el("p", {}, "What was not checked:"), el("ul", { class: "unchecked small" }, report.not_checked.map((one) => el("li", {}, clip(one, 400))))) : null,
    report.chain ? el("p", { class: "small" }, `${sentence(clip(report.chain, 400)).replace(/\.$/, "")}.`) : null);
}

function tick() {
  const { parts, began } = shown;
  say(parts.sofar, `${many(parts.done, "check")} made, ${lasting(Math.max(1000, Date.now() - began))}`);
}

function running(yes) {
  const { parts } = shown;
  parts.progress.hidden = !yes;
  parts.cancel.hidden = !yes;
  parts.start.disabled = yes;
  parts.levels.disabled = yes;
}

async function start(record) {
  const { parts } = shown;
  const stop = new AbortController();
  Object.assign(shown, { stop, began: Date.now(), lines: new Map() });
  parts.done = 0;
  say(parts.said, "");
  parts.checks.replaceChildren();
  parts.verdict.replaceChildren();
  parts.progress.firstChild.removeAttribute("value");
  running(true);
  tick();
  shown.timer = setInterval(tick, 1000);
  try {
    const answer = await ask(`/verify/${encodeURIComponent(record.id)}?${new URLSearchParams({ level: shown.level })}`, { method: "POST", signal: stop.signal, headers: { accept: "application/x-ndjson" } });
    const report = await read(answer);
    parts.verdict.replaceChildren(verdict(report));
    parts.verdict.scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (shown.stop === stop) say(parts.said, stop.signal.aborted ? "Cancelled: the checks below were made, and there is no verdict." : sentence(clip(error.status ? error.message : BROKEN, 500)));
  }
  if (shown.stop !== stop) return;
  clearInterval(shown.timer);
  shown.stop = null;
  for (const left of parts.checks.querySelectorAll("[data-state=running]")) left.remove(); // it came to nothing
  running(false);
}

// ---- the card --------------------------------------------------------------------------------------------------------

function build(record) {
  const why = underivable(record);
  const help = el("p", { class: "small", id: "level-help" });
  const options = Object.entries(LEVELS).filter(([level]) => level !== "L2" || (!why && who.may("write"))).map(([value, label]) => ({ value, label }));
  const chosen = (level) => {
    shown.level = level;
    say(help, explain(record));
    if (level === "L2") learn(record, help);
  };
  const parts = {
    done: 0, sofar: el("span", { class: "small" }), said: el("p", { class: "trouble", role: "alert" }), checks: el("ol", { class: "checks", "aria-label": "Checks" }), verdict: el("div", { role: "status" }),
    levels: el("fieldset", { class: "span" }, el("legend", { class: "unseen" }, "Level"), choices("verify-level", options, "L1", chosen)),
    start: el("button", { type: "button", class: "quiet strong", "data-keep": "verify", "aria-describedby": "level-help", onclick: () => start(record) }, "Verify"),
    cancel: el("button", { type: "button", class: "quiet", onclick: () => shown.stop?.abort() }, "Cancel"),
  };
  parts.progress = el("div", { class: "job-progress" }, el("progress", { "aria-label": "Verification" }), parts.sofar);
  Object.assign(shown, { id: record.id, parts });
  running(false);
  chosen("L1");
  return el("section", { class: "card verify" }, el("h2", {}, "Verify"),
    el("div", { class: "tools" }, parts.levels, el("div", { class: "buttons" }, parts.start, parts.cancel)), help, why ? el("p", { class: "small" }, why) : null,
    parts.said, parts.progress, parts.checks, parts.verdict);
}

/** Built once per thing, so that news about it leave a running verification alone. */
export function verify(host, record) {
  const live = record.deleted_ms === null;
  refresh(host, [record.id, live, record.state, record.reproducible, record.held_for, who.me()?.roles], () => {
    shown.stop?.abort();
    return live ? build(record) : [];
  });
}
