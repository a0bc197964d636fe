// One dataset or model in full: what it is, what was made of it, who may use it, and what can be done with it.

import { get, open as ask, send } from "./api.js";
import { revoked } from "./anchoring.js";
import { confirmed } from "./ask.js";
import { canDeploy, deployForm } from "./deployed.js";
import { canTranslate, sayingOf, snapshot as snapshotCard, translation as translationCard } from "./derived.js";
import { copyable, el, refresh, say } from "./dom.js";
import { REPRODUCIBLE, badge, busy, isModel, itemsOf, kindOf, ownerOf, pathOf, shapeOf, sizeOf, stateOf, when } from "./hubwords.js";
import { grants as grantList } from "./grants.js";
import { lineage as lineageGraph } from "./lineage.js";
import { poll } from "./poll.js";
import { recipe as recipeCard } from "./recipe.js";
import { isEmpty, labelOf, recorded } from "./recorded.js";
import { statistics as statisticsCard } from "./statistics.js";
import * as verifying from "./verify.js";
import * as who from "./who.js";
import { bytes, clip, count, many, number, sentence } from "./words.js";

const shown = { id: "", parts: null, record: null, lineage: null, grants: null, told: null, error: null, said: "", fresh: 0, good: false, poll: null };

export function open(host, id) {
  const parts = { title: el("h1", { tabindex: "-1" }), badges: el("p", { class: "badges" }), about: el("p"), actions: el("div", { class: "buttons" }), said: el("p", { class: "said", role: "alert" }), notes: el("div", { class: "notes-in-words" }), facts: el("div"), body: el("div", { class: "hub" }), deploy: el("div"), recorded: el("div"), verify: el("div"), lineage: el("div"), grants: el("div") };
  Object.assign(shown, { id, parts, record: null, lineage: null, grants: null, told: null, error: null, said: "" });
  host.replaceChildren(
    el("p", {}, el("a", { href: "#library", class: "back" }, "‹ Library")),
    el("section", { class: "card asset" }, el("div", { class: "asset-head" }, parts.title, parts.badges), parts.about, parts.notes, parts.actions, parts.said, parts.deploy, parts.facts),
    parts.body, parts.recorded, parts.verify, parts.lineage, parts.grants);
  say(parts.title, "Reading…");
  parts.title.focus({ preventScroll: true });
  scrollTo({ top: 0 });
  shown.poll = poll(look);
}

export function close() {
  shown.poll?.stop();
  shown.poll = null;
  verifying.close();
}

async function look() {
  const { id, fresh } = shown;
  let record = null;
  let error = null;
  try {
    record = await get(`/${id.startsWith("md_") ? "models" : "datasets"}/${encodeURIComponent(id)}`);
  } catch (failed) {
    error = failed;
  }
  if (shown.id !== id || !shown.poll) return false;
  const changed = JSON.stringify(record) !== JSON.stringify(shown.record);
  if (error && shown.record && !error.status) Object.assign(shown, { said: "The platform does not answer: below is what was last seen.", good: false });
  else Object.assign(shown, { record, error });
  if (record && (changed || !busy(record))) await around(id);
  if (shown.id === id && shown.poll) paint();
  if (shown.fresh) inSight();
  if (shown.fresh === fresh) shown.fresh = 0; // what was done while this look was under way may still move the page
  return record !== null && (busy(record) || record.anchoring === "waiting");
}

/** What stands beside it: a page without lineage or grants is still a page. */
async function around(id) {
  const quietly = (path) => get(path).catch((error) => ({ failed: error.message }));
  const { company, anchoring } = shown.record;
  const off = anchoring === "off"; // nothing is there to be read, and why is asked once
  const [lineage, grants, found, ledger, keys] = await Promise.all([quietly(`/lineage/${encodeURIComponent(id)}`), quietly("/grants"), off ? null : quietly(`/contracts?${new URLSearchParams({ asset: id })}`), (off && shown.told?.ledger) || quietly("/ledger"), anchoring === "anchored" ? quietly(`/keys/${encodeURIComponent(company)}?${new URLSearchParams({ asset: id })}`) : null]);
  if (shown.id !== id) return;
  Object.assign(shown, { lineage, grants: grants.failed ? grants : itemsOf(grants).filter((one) => one.asset === id), told: { found, ledger: { says: ledger.says, failed: ledger.failed }, signer: keys?.signer || "", operator: keys?.operator || "" } });
}

// ---- doing -----------------------------------------------------------------------------------------------------------

/** Do something (`doing`: what is said meanwhile), say how it went in the server's own words, in the card it was asked for in, and look again. */
async function act(work, done, doing = "") {
  const { said, actions: head } = shown.parts;
  const asked = document.activeElement?.closest(".card:not(.asset)");
  Object.assign(shown, { said: doing, good: true });
  paint();
  if (asked) asked.append(said);
  else head.after(said);
  try {
    await work();
    shown.said = done;
  } catch (error) {
    Object.assign(shown, { said: sentence(error.message), good: false });
  }
  if (!shown.poll || !location.hash.endsWith(shown.id)) return; // it is gone, or the reader is
  paint();
  inSight();
  shown.fresh += 1;
  shown.poll?.now();
}

/** An answer is read where it was asked for, also when the list above it has grown meanwhile. */
function inSight() {
  if (shown.said) shown.parts.said.scrollIntoView({ block: "nearest" });
}

async function remove(record) {
  const kind = kindOf(record);
  const yes = await confirmed({
    title: `Delete the ${kind} “${clip(record.name, 60)}”?`,
    words: [
      `Its content (${bytes(sizeOf(record))}) is removed and cannot be brought back.`,
      `If something was made of it, or it is granted to somebody, a tombstone stays: the record without the content (name, digests, statistics), so that the lineage of what was made of it can still be read. If nothing depends on it, the record goes as well.`,
    ],
    action: `Delete the ${kind}`,
  });
  if (!yes) return;
  await act(async () => {
    const { tombstone } = await send("DELETE", pathOf(record));
    if (!tombstone) location.hash = "#library";
  }, "Deleted. A tombstone stays, because other things were made of it or it was granted to somebody.");
}

async function release(record) {
  const yes = await confirmed({
    title: `Release “${clip(record.name, 60)}” to ${clip(record.company, 40)}?`,
    words: [`${clip(record.company, 40)} trained it on your data. Once released, its files, metrics and log are theirs to read and keep. This cannot be taken back.`],
    action: "Release it",
  });
  if (yes) await act(() => send("POST", `${pathOf(record)}/release`), "Released.");
}

async function revoke(record) {
  const kind = kindOf(record);
  const reason = await confirmed({
    title: `Revoke the ${kind} “${clip(record.name, 60)}”?`,
    words: [`The ledger then says, for ever and for everybody who reads it, that it is not to be relied on any more. It is not deleted. This cannot be taken back.`],
    field: { label: "Reason, to be read by everybody", most: 500 },
    action: `Revoke the ${kind}`,
  });
  if (reason) await act(() => send("POST", `${pathOf(record)}/revoke`, { reason }), "Revoked.");
}

const canRevoke = (record) => record.deleted_ms === null && record.anchoring !== "off" && revoked(record) === null && who.mine(record) && who.may("write");

/** Of what was trained elsewhere often nobody knows what it is asked with. */
const askShape = (record) => confirmed({
  title: `Translate “${clip(record.name, 60)}” to ONNX`,
  words: ["Its record does not say which shape its inputs have. If the model itself does not either, it has to be told here."],
  field: { label: "Shape of one input without the batch axis, such as 24 × 6 (empty: as the model says)", most: 80, optional: true },
  action: "Translate", harmless: true,
});

async function translate(record) {
  const shape = record.state === "uploaded" && record.input_shape === null ? await askShape(record) : "";
  if (shape === false) return;
  const sizes = shape.match(/\d+/g);
  await act(async () => {
    const { id } = await send("POST", `/translate/${encodeURIComponent(record.id)}`, sizes ? { input_shape: sizes.map(Number) } : undefined);
    location.hash = `#library/${id}`;
  }, "", "It is being translated in the sandbox, and its answers are compared…");
}

/** Only who asks for the form starts the process that knows what there is to compute on. */
const deploy = (record) => act(async () => {
  shown.parts.deploy.replaceChildren(await deployForm(record, act));
  shown.parts.deploy.querySelector("input").focus();
}, "", "Asking what there is to compute on…");

const canReproduce = (record) => isModel(record) && record.deleted_ms === null && record.state === "trained" && record.recipe !== null && record.reproducible !== "never" && who.mine(record) && who.may("write") && !record.held_for.length;

const reproduce = (record) => act(async () => {
  const { id } = await send("POST", `${pathOf(record)}/reproduce`);
  location.hash = `#jobs/${id}`;
}, "Queued.");

/** Checked before the browser takes over, so that a refusal is a sentence and not a page of JSON. */
async function download(event, path) {
  event.preventDefault();
  await act(async () => {
    const stop = new AbortController();
    await ask(path, { signal: stop.signal, headers: { range: "bytes=0-0" } });
    stop.abort();
    el("a", { href: path, download: "" }).click();
  }, "");
}

export const downloadLink = (path, text, keep) => el("a", { class: "quiet", href: path, download: "", "data-keep": keep, onclick: (event) => download(event, path) }, text);

function actions(record) {
  const gone = record.deleted_ms !== null;
  const held = isModel(record) && record.held_for.length > 0;
  const content = !gone && sizeOf(record) > 0 && (!held || isOwnerOfData(record));
  const several = isModel(record) && record.files.length > 1;
  return [
    content ? downloadLink(`${pathOf(record)}/content`, several ? `Download all ${record.files.length} files (zip)` : "Download", "download") : null,
    content && record.stream ? downloadLink(`${pathOf(record)}/raw`, "Download the raw records", "raw") : null,
    held && isOwnerOfData(record) && who.may("share") ? el("button", { type: "button", class: "quiet strong", "data-keep": "release", onclick: () => release(record) }, `Release it to ${clip(record.company, 40)}`) : null,
    isModel(record) && record.job && (who.mine(record) || isOwnerOfData(record)) ? el("a", { class: "quiet", href: `#jobs/${record.job}`, "data-keep": "job" }, "Its training job") : null,
    canReproduce(record) ? el("button", { type: "button", class: "quiet", "data-keep": "again", title: "A second training of the same recipe; its files are compared digest by digest", onclick: () => reproduce(record) }, "Train it again and compare") : null,
    canTranslate(record) && revoked(record) === null && who.may("write") ? el("button", { type: "button", class: "quiet", "data-keep": "translate", title: "Under a new id, with a certificate of how near its answers are", onclick: () => translate(record) }, "Translate to ONNX") : null,
    canDeploy(record) ? el("button", { type: "button", class: "quiet", "data-keep": "deploy", title: "Have it answer at the inference doors", onclick: () => deploy(record) }, "Deploy…") : null,
    !gone && who.mine(record) && who.may("write") ? el("button", { type: "button", class: "quiet risky", "data-keep": "delete", onclick: () => remove(record) }, "Delete") : null,
  ].filter(Boolean);
}

const readable = (record) => record.deleted_ms === null && (!record.held_for.length || isOwnerOfData(record));

const isOwnerOfData = (record) => record.held_for.includes(who.me()?.company);

// ---- painting --------------------------------------------------------------------------------------------------------

function paint() {
  const { parts, record, error } = shown;
  if (!record) return lost(error);
  say(parts.title, record.name);
  refresh(parts.badges, [stateOf(record), record.reproducible, record.confidential, revoked(record)], () => [
    revoked(record) === null ? null : badge(["failed", "Revoked"]),
    badge(["none", kindOf(record)]), badge(stateOf(record)), isModel(record) && (record.recipe || record.state === "uploaded") ? badge(REPRODUCIBLE[record.reproducible]) : null, record.confidential ? badge(["waiting", "Confidential"]) : null,
  ].filter(Boolean));
  say(parts.about, record.description);
  parts.about.hidden = !record.description;
  const names = Object.fromEntries((shown.lineage?.nodes || []).map(({ id, name }) => [id, name]));
  const above = takenBack(shown.lineage, record.id);
  refresh(parts.notes, [record, names, above, who.me()], () => notes(record, names, above));
  refresh(parts.actions, [record, who.me()], () => actions(record));
  if (!parts.said.isConnected) parts.actions.after(parts.said); // the card it stood in was drawn anew
  say(parts.said, shown.said);
  parts.said.dataset.look = shown.good ? "good" : "warn";
  refresh(parts.facts, [record, names, shown.grants, who.me()], () => facts(record, names));
  refresh(parts.body, [record, names], () => (isModel(record) ? modelCards(record, names) : [statisticsCard(record)]).filter(Boolean));
  recorded(parts.recorded, { record, told: shown.told, act, more: canRevoke(record) ? el("button", { type: "button", class: "quiet risky", "data-keep": "revoke", onclick: () => revoke(record) }, "Revoke…") : null });
  verifying.verify(parts.verify, record);
  lineageGraph(parts.lineage, shown.lineage, record.id);
  grantList(parts.grants, { record, grants: shown.grants, act });
  return undefined;
}

function lost(error) {
  const { parts, id } = shown;
  say(parts.title, error?.status === 404 ? "Not in your library" : "This could not be read");
  for (const part of [parts.badges, parts.actions, parts.deploy, parts.facts, parts.body, parts.recorded, parts.verify, parts.lineage, parts.grants]) part.replaceChildren();
  const said = error?.message || "the platform does not answer";
  refresh(parts.notes, [id, said], () => [el("p", {}, sentence(clip(said, 400))), el("p", { class: "small" }, "Another company’s things are here only while a grant lasts. ", el("code", {}, id))]);
}

/** What it was made of and was revoked, by the lineage. */
function takenBack(lineage, id) {
  const above = new Set([id]);
  for (let size = 0; size !== above.size;) {
    size = above.size;
    for (const [source, target] of lineage?.edges || []) if (above.has(target)) above.add(source);
  }
  return (lineage?.nodes || []).filter((node) => node.id !== id && node.revoked && !node.deleted && above.has(node.id));
}

function notes(record, names, above) {
  const note = (look, text) => el("p", { class: "note", "data-look": look }, text);
  const found = [];
  if (revoked(record) !== null) found.push(note("bad", `Revoked by its owner, and not to be relied on any more: ${clip(revoked(record), 500)}`));
  for (const one of above.slice(0, 5)) found.push(note("bad", `Made of something that was revoked: ${one.id.startsWith("hidden_") ? "something that you may not see" : clip(one.name || one.id, 60)}, ${clip(one.revoked, 300)}`));
  if (record.deleted_ms !== null) found.push(note("mute", `Deleted on ${when(record.deleted_ms)}. This is a tombstone: the content is gone; the record stays because other things were made of it or it was granted to somebody.`));
  if (isModel(record)) found.push(...modelNotes(record, note, names));
  else if (record.statistics_state === "failed") found.push(note("warn", `It is stored and can be used, but it could not be measured: ${record.statistics_error || "no reason is known"}`));
  return found;
}

function modelNotes(record, note, names) {
  const found = [];
  if (sayingOf(record, names)) found.push(note("mute", sayingOf(record, names)));
  if (record.held_for.length) {
    const owners = record.held_for.map((name) => clip(name, 40)).join(" and ");
    found.push(isOwnerOfData(record)
      ? note("warn", `${clip(record.company, 40)} trained this on data of yours that it may train on, but not keep results of. Files, metrics and log stay with you until you release them.`)
      : note("warn", `Held: it was trained on data of ${owners}, granted for training only. Its files, metrics and log can be read here once ${owners} ${record.held_for.length > 1 ? "have" : "has"} released it.`));
  }
  if (record.state === "failed") found.push(note("bad", "The training failed: its job says why, and keeps the log."));
  if (record.state === "uploaded") found.push(note("mute", "Uploaded as it is, trained elsewhere: nothing here says how it was made."));
  if (record.reproducible_note) found.push(note(record.reproducible === "never" ? "warn" : "mute", sentence(record.reproducible_note)));
  return found;
}

export const fact = (term, ...value) => el("div", {}, el("dt", {}, term), el("dd", {}, ...value));

function facts(record, names) {
  const digest = (label, text) => (text ? fact(label, copyable(text, `the ${label}`)) : null);
  const common = [fact("Owner", ownerOf(record) === "us" ? `us (${record.company})` : record.company), fact("Created", `${when(record.created_ms)} by ${record.created_by}`), fact("Id", copyable(record.id, "the id")), right(record)];
  const own = isModel(record)
    ? [
        record.framework ? fact("Framework", record.framework) : null, fact("Shape", shapeOf(record)), record.parameters !== null ? fact("Parameters", count(record.parameters)) : null,
        fact("Size", record.files.length ? `${bytes(sizeOf(record))} in ${many(record.files.length, "file")}` : record.held_for.length ? "held" : "no files yet"),
        record.parent && !record.translation ? fact(record.snapshot ? "Learned on from" : "Started from", el("a", { href: `#library/${record.parent}`, title: record.parent }, clip(names[record.parent] || record.parent, 60))) : null, digest("Digest", record.digest), digest("Environment", record.fingerprint),
      ]
    : [
        fact("Format", record.media), fact("File", record.filename), fact("Size", record.stored.size < 1024 ? bytes(record.stored.size) : `${bytes(record.stored.size)} (${count(record.stored.size)} bytes)`), fact("Samples", record.samples === null ? "–" : count(record.samples)),
        fact("Sample shape", record.sample_shape ? record.sample_shape.map(count).join(" × ") || "one number" : "–"), digest("SHA-256", record.stored.sha256), digest("Merkle root", record.stored.root),
        ...streamFacts(record.stream, digest),
      ];
  return el("dl", { class: "details" }, [...common, ...own].filter(Boolean));
}

function streamFacts(stream, digest) {
  if (!stream) return [];
  return [
    fact("Made of the stream", el("code", {}, stream.topic)), fact("From", when(stream.from_ms)), fact("To", when(stream.to_ms)),
    fact("Records", `${count(stream.records)}, positions ${count(stream.first_position)} to ${count(stream.last_position)} of the log`), digest("Root of the records", stream.root),
  ];
}

function right(record) {
  if (who.mine(record) || !Array.isArray(shown.grants)) return null;
  const live = shown.grants.filter(({ grantee, revoked_ms: revoked }) => revoked === null && grantee === who.me()?.company);
  if (!live.length) return null;
  return fact("Granted to us", live.map((one) => `${one.right}${one.expires_ms ? ` until ${when(one.expires_ms)}` : ""}`).join(", "));
}

// ---- a model's own cards -----------------------------------------------------------------------------------------------

function modelCards(record, names) {
  return [translationCard(record, names), snapshotCard(record, record.fingerprint), metricsCard(record, names), filesCard(record), recipeCard(record, names, readable(record) ? downloadLink(`${pathOf(record)}/code`, "Download", "code") : null), metadataCard(record)].filter(Boolean);
}

export const card = (title, ...children) => el("section", { class: "card" }, el("h2", {}, title), ...children);

const plain = (value) => (typeof value === "number" ? number(value, 4) : typeof value === "string" ? value : JSON.stringify(value));

export function pairs(found) {
  return el("dl", { class: "details" }, Object.entries(found).slice(0, 60).map(([name, value]) => fact(clip(name, 80), clip(plain(value) ?? "–", 300))));
}

const nested = (value) => typeof value === "object" && value !== null;

function metricsCard({ metrics, translation: found }, names) {
  const own = Object.entries(metrics).filter(([, value]) => !nested(value));
  const later = Object.entries(metrics).filter(([, value]) => nested(value));
  if (!own.length && !later.length) return null;
  const whose = found ? [el("p", { class: "small" }, "Measured of the original; the translation itself was compared only.")] : [];
  return card("Metrics", ...whose, ...(own.length ? [pairs(Object.fromEntries(own))] : []), ...(later.length ? [evaluations(later, names)] : []));
}

/** What was measured later: a row for each dataset, a column for each metric. */
function evaluations(later, names) {
  const columns = [...new Set(later.flatMap(([, values]) => Object.keys(values)))].filter((name) => !["job", "held_for"].includes(name)).slice(0, 12);
  const cell = (value) => el("td", {}, value === undefined ? "–" : clip(plain(value), 80));
  const rows = later.slice(0, 50).map(([id, values]) => el("tr", {}, el("td", {}, el("a", { href: `#library/${id}`, title: id }, clip(names[id] || id, 60))), columns.map((name) => cell(values[name]))));
  return el("div", { class: "scroll" }, el("table", { class: "evaluations" }, el("thead", {}, el("tr", {}, ["Evaluated later on", ...columns].map((name) => el("th", {}, clip(name, 60))))), el("tbody", {}, rows)));
}
const metadataCard = ({ metadata: { hyperparameters, ...metadata }, environment: { digest, ...environment } }) => { // the digest stands at the top
  const every = Object.entries({ ...metadata, ...environment }).filter(([, value]) => !isEmpty(value));
  if (!every.length) return null;
  const folded = every.filter(([, value]) => nested(value)).map(([name, value]) => el("details", {}, el("summary", {}, labelOf(name)), el("pre", { class: "scroll" }, JSON.stringify(value, null, 2))));
  const flat = Object.fromEntries(every.filter(([, value]) => !nested(value)).map(([name, value]) => [labelOf(name), name.endsWith("_bytes") && typeof value === "number" ? bytes(value) : value]));
  return el("section", { class: "card" }, el("details", {}, el("summary", {}, "Metadata and environment"), pairs(flat), ...folded));
};

function filesCard(record) {
  if (!record.files.length) return null;
  const open = readable(record);
  const pathTo = (path) => `${pathOf(record)}/files/${path.split("/").map(encodeURIComponent).join("/")}`;
  const lines = record.files.slice(0, 200).map(({ path, stored }) => el("li", {},
    open ? downloadLink(pathTo(path), clip(path, 120), `file ${path}`) : el("span", {}, clip(path, 120)),
    el("span", { class: "small" }, bytes(stored.size)), copyable(stored.sha256, `the digest of ${path}`)));
  const rest = record.files.length - lines.length;
  return card("Files", el("ul", { class: "files" }, lines), rest > 0 ? el("p", { class: "small" }, `and ${many(rest, "more file")}, all in the zip`) : null);
}
