// Adding a dataset from this page: drop a file or choose one; it is sent while its name is typed.

import { send } from "./api.js";
import { el, refresh, say } from "./dom.js";
import { Cancelled, Upload } from "./tus.js";
import * as who from "./who.js";
import { bytes, clip, number, sentence, span } from "./words.js";

const state = { upload: null, file: null, parts: null, done: "", wanted: null, added: () => {}, began: 0 };

/** Draw it into `host`, once; nothing for those who may not. `added` is called after a dataset was registered. */
export function uploader(host, added) {
  state.added = added;
  refresh(host, who.may("write"), () => (who.may("write") ? build() : []));
}

function build() {
  const chooser = el("input", { type: "file", id: "upload-file", class: "unseen", onchange: () => { if (chooser.files.length) take(chooser.files); chooser.value = ""; } });
  const zone = el("label", { class: "drop", for: "upload-file" }, el("b", {}, "Add a dataset"), el("span", {}, " Drop a file here, or choose one. "), el("span", { class: "small" }, "CSV, Parquet, npy, npz, a zip of images, or anything else; large files go on after a broken connection."));
  const parts = { chooser, zone, said: el("p", { class: "said", role: "alert" }), work: el("div") };
  const stop = (event) => { event.preventDefault(); zone.classList.toggle("over", event.type === "dragover"); };
  for (const name of ["dragenter", "dragover", "dragleave"]) zone.addEventListener(name, stop);
  zone.addEventListener("drop", (event) => { stop(event); take(event.dataTransfer.files); });
  state.parts = parts;
  return el("section", { class: "card upload", "aria-label": "Add a dataset" }, chooser, zone, parts.work, parts.said);
}

function complain(text) {
  say(state.parts.said, text);
}

function take(files) {
  if (state.file) return complain("One at a time: finish or cancel this one first.");
  if (files.length > 1) return complain("One file at a time; several images go in as one zip.");
  if (!files.length) return complain("That was no file.");
  if (!files[0].size) return complain(`“${clip(files[0].name, 80)}” is empty, or a folder: choose a file with something in it.`);
  complain("");
  return start(files[0]);
}

function form(file) {
  const name = el("input", { id: "dataset-name", required: true, maxlength: "200", autocomplete: "off", spellcheck: "false", value: file.name.replace(/\.[^.]{1,12}$/, "") });
  const about = el("input", { id: "dataset-about", maxlength: "2000", autocomplete: "off" });
  const confidential = el("input", { type: "checkbox", id: "dataset-confidential" });
  const bar = el("progress", { max: "1", value: "0", "aria-label": `Upload of ${file.name}` });
  const sofar = el("p", { class: "small", role: "status" });
  const add = el("button", { type: "submit", class: "quiet strong" }, "Add to the library");
  const root = el("form", { class: "adding", onsubmit: (event) => { event.preventDefault(); want({ name: name.value.trim(), description: about.value.trim(), confidential: confidential.checked }); } },
    el("p", { class: "file" }, el("b", {}, clip(file.name, 120)), ` ${bytes(file.size)}`), bar, sofar,
    el("div", { class: "fields" }, el("p", {}, el("label", { for: "dataset-name" }, "Name"), name), el("p", {}, el("label", { for: "dataset-about" }, "What it is"), about)),
    el("p", { class: "check" }, el("label", {}, confidential, " confidential")),
    el("div", { class: "buttons" }, add, el("button", { type: "button", class: "quiet", onclick: cancel }, "Cancel")));
  return { root, bar, sofar, add, name };
}

async function start(file) {
  const parts = Object.assign(state.parts, form(file));
  Object.assign(state, { file, done: "", wanted: null, began: performance.now() });
  parts.work.replaceChildren(parts.root);
  parts.zone.hidden = true;
  parts.name.select();
  const upload = new Upload(file, progress);
  state.upload = upload;
  addEventListener("beforeunload", stay);
  try {
    state.done = await upload.run();
    progress({ sent: file.size, size: file.size, waiting: "" });
    if (state.wanted) await register();
  } catch (error) {
    if (error instanceof Cancelled) return;
    close();
    complain(`“${clip(file.name, 80)}” was not uploaded: ${clip(error.message, 300)}`);
  }
}

function progress({ sent, size, waiting }) {
  const { bar, sofar } = state.parts;
  bar.value = size ? sent / size : 1;
  if (waiting) return say(sofar, `${sentence(waiting)}: trying again. ${bytes(sent)} of ${bytes(size)} have arrived, nothing is lost.`);
  if (sent >= size) return say(sofar, state.wanted ? "All of it has arrived; adding it…" : "All of it has arrived.");
  const took = performance.now() - state.began;
  const left = sent && took > 2_000 ? `, about ${span((took * (size - sent)) / sent)} to go` : "";
  return say(sofar, `${bytes(sent)} of ${bytes(size)} (${number((100 * sent) / size, 2)} %)${left}`);
}

/** The reader is ready: at once, or as soon as all has arrived. */
async function want(wanted) {
  state.wanted = wanted;
  state.parts.add.disabled = true;
  if (state.done) await register();
  else say(state.parts.add, "Added when it has arrived");
}

async function register() {
  complain("");
  try {
    const made = await send("POST", "/datasets", { ...state.wanted, upload: state.done });
    close();
    state.added();
    location.hash = `#library/${made.id}`;
  } catch (error) {
    state.wanted = null;
    state.parts.add.disabled = false;
    say(state.parts.add, "Add to the library");
    complain(sentence(clip(error.message, 400)));
  }
}

async function cancel() {
  const { upload } = state;
  close();
  complain("");
  await upload.cancel();
}

function close() {
  removeEventListener("beforeunload", stay);
  Object.assign(state, { upload: null, file: null, done: "", wanted: null });
  state.parts.work.replaceChildren();
  state.parts.zone.hidden = false;
  state.parts.chooser.focus();
}

/** Leaving the page would stop the upload; the browser asks. */
function stay(event) {
  event.preventDefault();
}
