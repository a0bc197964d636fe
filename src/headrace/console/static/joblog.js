// The log of a job as it is written: the end stays in view unless the reader scrolled up; of a long one the last part is kept.

import { open } from "./api.js";
import { el, say } from "./dom.js";
import { bytes, clip, sentence } from "./words.js";

const TAIL = 256 * 1024; // bytes asked for of a log that is longer
const LINES = 2000;
const LONGEST = 2000; // letters of a line
const CLOSE = 24; // pixels from the end that still count as the end
const AGAIN = 2_000;

const ANSI = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;
const UNFINISHED = /\u001b(?:\[[0-?]*[ -/]*|\][^\u0007\u001b]*)?$/;

/** A line as a terminal would show it: no colours, and after a carriage return only what was written last. */
export function plain(line) {
  const text = line.replace(ANSI, "").replace(/\r+$/, "");
  return clip(text.slice(text.lastIndexOf("\r") + 1), LONGEST);
}

export class JobLog {
  constructor({ id, log_bytes: size, state }) {
    this.path = `/jobs/${encodeURIComponent(id)}/log`;
    this.offset = this.left = Math.max(0, size - TAIL);
    Object.assign(this, { over: !["queued", "running"].includes(state), rest: "", waiting: [], stopper: null, stopped: false, following: false, done: false, timer: null, planned: false, decoder: new TextDecoder(), cut: this.offset > 0 });
    this.lines = el("div", { class: "log", tabindex: "0", role: "log", "aria-live": "off", "aria-label": "Log of the job" });
    this.lines.addEventListener("scroll", () => this.edge());
    this.head = el("p", { class: "small" });
    this.state = el("span", { class: "aside", role: "status" });
    this.down = el("button", { type: "button", class: "quiet to-end", hidden: true, onclick: () => { this.toEnd(); this.edge(); } }, "To the end");
    this.root = el("section", { class: "card" }, el("div", { class: "title" }, el("h2", {}, "Log"), this.state), this.head, el("div", { class: "log-box" }, this.lines, this.down),
      el("p", { class: "small" }, el("a", { href: this.path, target: "_blank", rel: "noopener" }, "The whole log as text")));
    this.awake = () => this.visible();
    document.addEventListener("visibilitychange", this.awake);
    this.note();
  }

  atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.lines;
    return scrollHeight - scrollTop - clientHeight < CLOSE;
  }

  toEnd() {
    this.lines.scrollTop = this.lines.scrollHeight;
  }

  edge() {
    this.down.hidden = this.atEnd();
  }

  note() {
    say(this.head, this.left > 0 ? `… ${bytes(this.left)} left out` : "");
    this.head.hidden = this.left <= 0;
  }

  /** Read to the end of the log, for as long as it grows; a broken connection goes on where it stopped. */
  async follow() {
    if (this.following) return;
    this.following = true;
    await this.keepReading();
    this.following = false;
    if (this.over && !this.stopped && !document.hidden) this.finish();
  }

  async keepReading() {
    while (!this.stopped && !document.hidden) {
      this.stopper = new AbortController();
      try {
        await this.read(this.stopper.signal);
        if (this.over) break;
        say(this.state, "");
      } catch (error) {
        if (this.stopped || document.hidden) return;
        if (error.status) {
          this.refused(error);
          return;
        }
        say(this.state, "Connection broken: trying again");
      }
      await new Promise((resolve) => { this.timer = setTimeout(resolve, AGAIN); });
    }
  }

  async read(signal) {
    const query = new URLSearchParams({ offset: this.offset, ...(this.over ? {} : { follow: 1 }) });
    const answer = await open(`${this.path}?${query}`, { signal, headers: { accept: "text/plain" } });
    say(this.state, this.over ? "" : "Live");
    const reader = answer.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.offset += value.length;
      this.take(this.decoder.decode(value, { stream: true }));
    }
  }

  take(text) {
    const parts = (this.rest + text).split("\n");
    this.rest = parts.pop();
    if (this.rest.length > 64 * 1024 && !UNFINISHED.test(this.rest)) { parts.push(this.rest); this.rest = ""; } // a line without an end
    if (this.cut && parts.length) { this.left += parts.shift().length + 1; this.cut = false; } // it began in the middle of one
    this.waiting.push(...parts);
    if (this.waiting.length > LINES) this.drop(this.waiting.splice(0, this.waiting.length - LINES));
    this.plan();
  }

  drop(lines) {
    const encoder = new TextEncoder();
    this.left += lines.reduce((sum, line) => sum + encoder.encode(line).length + 1, 0);
  }

  plan() {
    if (this.planned) return;
    this.planned = true;
    requestAnimationFrame(() => { this.planned = false; this.paint(); });
  }

  paint() {
    if (this.stopped) return;
    const end = this.atEnd();
    const fresh = this.waiting.splice(0);
    this.partial?.remove();
    this.lines.append(...fresh.map((line) => this.made(line)));
    const over = this.lines.childElementCount - LINES;
    for (let index = 0; index < over; index += 1) {
      this.left += this.lines.firstChild.bytes;
      this.lines.firstChild.remove();
    }
    const rest = plain(this.rest.replace(UNFINISHED, ""));
    this.partial = rest ? el("div", {}, rest) : null;
    if (this.partial) this.lines.append(this.partial);
    this.note();
    if (end) this.toEnd();
    this.edge();
  }

  made(line) {
    const text = plain(line);
    const node = el("div", text.startsWith("::progress") ? { class: "of" } : {}, text || " ");
    node.bytes = new TextEncoder().encode(line).length + 1;
    return node;
  }

  finish() {
    if (this.done) return;
    this.done = true;
    if (this.rest) { this.waiting.push(this.rest); this.rest = ""; }
    this.plan();
    const none = !this.offset && !this.waiting.length && !this.lines.childElementCount;
    say(this.state, none ? "It printed nothing" : "");
  }

  refused(error) {
    this.done = true;
    say(this.state, "");
    const text = error.status === 403 ? `${sentence(error.message)}` : `The log could not be read: ${error.message}`;
    this.lines.replaceChildren(el("div", { class: "words" }, clip(text, 400)));
  }

  /** What the job's record says now: once it has ended, what follows is the last of the log. */
  told({ state }) {
    const over = !["queued", "running"].includes(state);
    if (over && !this.over) {
      this.over = true;
      say(this.state, "");
    }
  }

  /** A hidden tab gives its connection back, and goes on when it is looked at. */
  visible() {
    if (document.hidden) this.stopper?.abort();
    else if (!this.stopped && !this.done) this.follow();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.awake);
    this.stopper?.abort();
  }
}
