// Resumable uploads (tus 1.0): a file goes in pieces; after a broken connection the server says how much it has, and it
// goes on from there. What was begun is remembered in this browser, so that the same file goes on after a reload, too.

const VERSION = { "tus-resumable": "1.0.0" };
const SMALL = 512 * 1024;
const LARGE = 32 * 2 ** 20;
const QUICK = 800; // ms: a piece that went faster makes the next one twice as large
const TRIES = 6; // in a row, without a byte getting through
const STORE = "headrace-uploads";

export class Refused extends Error {}
export class Cancelled extends Error {}

const print = ({ name, size, lastModified }) => `${name} ${size} ${lastModified}`;

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(STORE) || "{}");
  } catch {
    return {}; // no storage in this browser: an upload lasts as long as the page
  }
}

function remember(file, url) {
  const all = remembered();
  delete all[print(file)];
  if (url) all[print(file)] = url;
  try {
    localStorage.setItem(STORE, JSON.stringify(Object.fromEntries(Object.entries(all).slice(-20))));
  } catch { /* as above */ }
}

const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

async function words(answer) {
  const body = await answer.json().catch(() => null);
  return typeof body?.error === "string" ? body.error : `the server answered ${answer.status}`;
}

export class Upload {
  /** `onchange({ sent, size, waiting })` is told of every step; `waiting`: why it stands still, or "". */
  constructor(file, onchange) {
    Object.assign(this, { file, onchange, url: "", sent: 0, piece: SMALL, stop: new AbortController(), wake: () => {} });
    addEventListener("online", this.online = () => this.wake());
  }

  /** Send it all; the id of the upload. Throws Refused with the server's words, or Cancelled. */
  async run() {
    let failures = 0;
    try {
      while (!this.url || this.sent < this.file.size) {
        const before = this.sent;
        try {
          await this.step();
          failures = 0;
        } catch (error) {
          if (this.stop.signal.aborted) throw new Cancelled("cancelled");
          if (error instanceof Refused) throw error;
          failures = this.sent > before ? 1 : failures + 1;
          if (failures > TRIES) throw new Refused("the connection is broken: choose the same file again, it goes on where it stopped");
          await this.pause(failures, error);
        }
      }
    } finally {
      removeEventListener("online", this.online);
    }
    remember(this.file, null);
    return this.url.replace(/\/$/, "").split("/").at(-1);
  }

  /** Give it up; the server forgets what it has. */
  async cancel() {
    this.stop.abort();
    this.wake();
    remember(this.file, null);
    if (this.url) await fetch(this.url, { method: "DELETE", headers: VERSION }).catch(() => null);
  }

  async step() {
    if (!this.url) await this.begin();
    else if (this.unsure) await this.find();
    else await this.send();
    this.onchange({ sent: this.sent, size: this.file.size, waiting: "" });
  }

  async begin() {
    const old = remembered()[print(this.file)];
    if (old) {
      this.url = old;
      if (await this.find(true)) return;
      this.url = "";
    }
    const headers = { ...VERSION, "upload-length": String(this.file.size), "upload-metadata": `filename ${base64(this.file.name)}` };
    const answer = await fetch("/uploads", { method: "POST", headers, signal: this.stop.signal });
    if (answer.status !== 201) throw await this.wrong(answer);
    this.url = new URL(answer.headers.get("location"), location.origin + "/uploads").pathname;
    this.sent = 0;
    remember(this.file, this.url);
  }

  /** Ask how much has come; with `maybe`, false when the server does not know the upload any more. */
  async find(maybe = false) {
    const answer = await fetch(this.url, { method: "HEAD", headers: VERSION, signal: this.stop.signal });
    const known = answer.ok && Number(answer.headers.get("upload-offset"));
    if (maybe && (!answer.ok || Number(answer.headers.get("upload-length")) !== this.file.size)) return false;
    if (!answer.ok) throw await this.wrong(answer);
    this.sent = known;
    this.unsure = false;
    return true;
  }

  async send() {
    const began = performance.now();
    this.unsure = true; // until the answer says how much has come
    const body = this.file.slice(this.sent, this.sent + this.piece);
    const headers = { ...VERSION, "upload-offset": String(this.sent), "content-type": "application/offset+octet-stream" };
    const answer = await fetch(this.url, { method: "PATCH", headers, body, signal: this.stop.signal });
    if (answer.status === 409) throw new Error(await words(answer)); // still being written, or somebody's count is off: ask again
    if (!answer.ok) throw await this.wrong(answer);
    this.sent = Number(answer.headers.get("upload-offset"));
    this.unsure = false;
    if (performance.now() - began < QUICK) this.piece = Math.min(LARGE, this.piece * 2);
    else if (performance.now() - began > 8 * QUICK) this.piece = Math.max(SMALL, this.piece / 2);
  }

  /** What is wrong for good is Refused; a server in trouble is asked again. */
  async wrong(answer) {
    if (answer.status === 401) dispatchEvent(new Event("headrace:locked"));
    const said = await words(answer);
    if (answer.status >= 500 || answer.status === 423 || answer.status === 429) return new Error(said);
    remember(this.file, null);
    return new Refused(answer.status === 404 ? "the server does not know this upload any more: choose the file again" : said);
  }

  pause(failures, error) {
    this.onchange({ sent: this.sent, size: this.file.size, waiting: error.message === "Failed to fetch" ? "connection broken" : error.message });
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.min(16_000, 500 * 2 ** failures));
      this.wake = () => { clearTimeout(timer); resolve(); };
    });
  }
}
