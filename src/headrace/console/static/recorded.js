// What the ledger has of a dataset or model: the contract as everybody can read it, and what can be taken away to check it elsewhere.

import { open as ask } from "./api.js";
import * as anchoring from "./anchoring.js";
import { copyable, el, refresh } from "./dom.js";
import { linkOf, sizeOf, when } from "./hubwords.js";
import * as who from "./who.js";
import { bytes, clip, count, many, number, sentence } from "./words.js";

const AT_ONCE = 64e6; // bytes: files up to this size are fetched first, so that a refusal is a sentence
const LABELS = { stored_bytes: "Stored", mkl_cbwr: "MKL_CBWR", cpu_capability: "CPU capability", limits_by: "Limits set by", cpu: "Processor", created_ms: "Created", sha256: "SHA-256", root: "Merkle root", published_ms: "Published", dtypes: "Number types" };
const FIRST = ["kind", "name", "id", "company", "created_ms", "datasets", "parent"];
const INPUTS = { datasets: "Trained on", evaluation: "Measured on", parent: "Made from" };

const fact = (term, ...value) => el("div", {}, el("dt", {}, term), el("dd", {}, ...value));
/** A field's name in words. */
export const labelOf = (name) => LABELS[name] || clip(sentence(name.replaceAll("_", " ")), 60);
const isDigest = (value) => typeof value === "string" && /^(sha256:|0x)[0-9a-f]{40,64}$/i.test(value);
export const isEmpty = (value) => value === null || value === "" || (typeof value === "object" && !Object.keys(value).length);

// ---- the contract ----------------------------------------------------------------------------------------------------

function plain(name, value) {
  if (name.endsWith("_ms") && typeof value === "number") return when(value);
  if (isDigest(value)) return copyable(value, labelOf(name));
  if (name === "size") return bytes(value);
  if (typeof value === "number") return Number.isInteger(value) ? count(value) : number(value, 6);
  return clip(String(value), 400);
}

const input = (one) => el("span", {}, el("a", { href: linkOf(one.id) }, one.id), one.contract ? el("span", { class: "small" }, ` contract ${one.contract}`) : null);
const flat = (value) => Array.isArray(value) && value.every((one) => typeof one !== "object");

function files(list) {
  return el("ul", { class: "files" }, list.slice(0, 50).map(({ path, size, sha256 }) => el("li", {}, el("span", {}, clip(path, 120)), el("span", { class: "small" }, bytes(size)), copyable(sha256, `the digest of ${path}`))),
    list.length > 50 ? el("li", { class: "small" }, `and ${many(list.length - 50, "more file")}`) : null);
}

/** A part that is too large for the chain stands there by its digest. */
const isShortened = (value) => typeof value === "object" && "digest" in value && "bytes" in value && Object.keys(value).length === 2;
const isListed = (name, value) => name in INPUTS || (name === "files" && Array.isArray(value));
const isLarge = ([name, value]) => typeof value === "object" && !flat(value) && !isShortened(value) && !isListed(name, value);
const folded = ([name, value]) => el("details", {}, el("summary", {}, labelOf(name)), el("pre", { class: "scroll" }, JSON.stringify(value, null, 2)));

function entry([name, value]) {
  if (name in INPUTS) return el("div", { class: "wide" }, el("dt", {}, INPUTS[name]), [value].flat().map((one) => el("dd", {}, input(one))));
  if (isListed(name, value)) return el("div", { class: "wide" }, el("dt", {}, "Files"), el("dd", {}, files(value)));
  if (flat(value)) return fact(labelOf(name), clip(value.join(" × "), 400));
  if (isShortened(value)) return fact(labelOf(name), `${bytes(value.bytes)}, by its digest only `, copyable(value.digest, labelOf(name)));
  return fact(labelOf(name), plain(name, value));
}

/** A claim or result as a list of terms; what is large is folded. */
function said(title, claim, opened) {
  if (!claim) return null;
  const sealed = "sealed" in claim;
  const words = !sealed ? "" : opened
    ? "On the chain stands the digest of an encrypted text only. You may see the record, so it is opened for you here:"
    : "On the chain stands the digest of an encrypted text only; it is opened for whoever may see the record.";
  const rank = ([name]) => (FIRST.indexOf(name) + 1 || FIRST.length + 1);
  const entries = Object.entries(opened || claim).filter(([, value]) => !isEmpty(value)).sort((a, b) => rank(a) - rank(b)); // it comes in the order of the alphabet
  return el("section", { class: "claim" }, el("h3", {}, title), words ? el("p", { class: "small" }, words) : null, el("dl", { class: "details" }, entries.filter((one) => !isLarge(one)).map(entry)), entries.filter(isLarge).map(folded));
}

const place = (name, one) => (one ? [fact(`${name} in block`, count(one.block)), fact(`Transaction (${name.toLowerCase()})`, copyable(one.transaction, `the transaction (${name.toLowerCase()})`))] : []);

function batch(proof) {
  if (!proof) return [];
  return [fact("Place in its batch", `${count(proof.place + 1)} of ${count(proof.count)} anchored together, shown by ${many(proof.path.length, "digest")}`), fact("Root of the batch", copyable(proof.root, "the root of the batch"))];
}

function contract(one) {
  const result = said("Result of the training", one.result, one.result_opened);
  return el("details", { class: "contract" }, el("summary", {}, "The contract, read from the chain"),
    el("dl", { class: "details" }, fact("Written by the account", copyable(one.owner, "the account")), ...place("Registered", one.deployed), ...place("Result", one.recorded), ...batch(one.inclusion), fact("Digest of the claim", copyable(one.claim_digest, "the digest of the claim"))),
    one.revoked === null ? null : el("p", { class: "note", "data-look": "bad" }, `Revoked: ${clip(one.revoked, 500)}`),
    said("What was claimed when it was registered", one.claim, one.opened), result,
    el("p", { class: "small" }, el("a", { href: `/contracts?${new URLSearchParams({ asset: one.asset })}`, target: "_blank", rel: "noopener" }, "The same as JSON")));
}

function chain({ found, ledger }, record) {
  if (!ledger || ledger.failed) return el("p", { class: "small" }, record.anchoring === "off" ? sentence(clip(ledger?.failed || "", 400)) : `The ledger could not be asked: ${clip(ledger?.failed || "no answer", 300)}`);
  const more = found?.failed ? ` The contract could not be read now: ${clip(found.failed, 300)}` : "";
  return el("p", { class: "small" }, `${sentence(ledger.says)}.${more}`);
}

const content = (record) => record.deleted_ms === null && sizeOf(record) > 0;

// ---- what can be taken away ------------------------------------------------------------------------------------------

async function fetched(path, filename) {
  const answer = await ask(path);
  const address = URL.createObjectURL(await answer.blob());
  el("a", { href: address, download: filename }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Made when it is asked for, which can take a while: said, and refused in words. */
const taken = ({ path, filename, text, size, act, title, done }) => el("a", {
  class: "quiet", href: path, download: filename, "data-keep": `take ${path}`, title,
  onclick: (event) => {
    if (size > AT_ONCE) return; // the browser itself writes a large one to the disk
    event.preventDefault();
    act(() => fetched(path, filename), done, "It is being made…");
  },
}, text);

/** What its recipient has to be told by another way than the file: the file itself names whatever key signed it. */
function pins({ signer, operator }, record) {
  if (!signer) return null;
  const of = who.mine(record) ? "your company" : clip(record.company, 40);
  return el("div", { class: "pins" },
    el("p", { class: "small" }, "Whoever gets the bundle checks it with ", el("code", {}, "headrace verify FILE --offline --key FINGERPRINT"), ". Tell them the fingerprint by another way than you send the file."),
    el("dl", { class: "details" }, fact(`Signing key of ${of}`, copyable(signer, "the fingerprint of the signing key")), operator ? fact("Operator of the ledger (--operator)", copyable(operator, "the fingerprint of the operator")) : null));
}

function takes(record, act) {
  const id = encodeURIComponent(record.id);
  const one = (path, filename, text, title, size = 0, done = "") => taken({ path: `/${path}/${id}`, filename, text, title, size, act, done });
  return [
    content(record) && record.anchoring === "anchored" ? one("bundles", `${record.id}.bundle`, "Download bundle", "One file with the content, what is recorded and all evidence: headrace verify FILE --offline checks it anywhere", sizeOf(record), "Downloaded. Tell its recipient the fingerprint above, by another way than you send the file.") : null,
    record.deleted_ms === null ? one("cards", `${record.id}.md`, record.id.startsWith("md_") ? "Model card" : "Dataset card", "What the records say of it, as a page of text (Markdown)") : null,
    record.deleted_ms === null ? one("boms", `${record.id}.cdx.json`, "Bill of materials", "Data, code, files and packages with their digests (CycloneDX)") : null,
  ].filter(Boolean);
}

// ---- the card --------------------------------------------------------------------------------------------------------

/** `told`: { found, ledger }: what the chain says of it, and which chain it is; either may be { failed: why } or null. */
export function recorded(host, { record, told, act, more }) {
  refresh(host, [record, told], () => {
    const address = record.contract ? el("dl", { class: "details" }, fact(record.snapshot ? "Contract its batch was anchored in" : "Contract", copyable(record.contract, "the address of the contract"))) : null;
    const items = told?.found?.failed ? [] : told?.found?.items || [];
    return el("section", { class: "card recorded" }, el("div", { class: "title" }, el("h2", {}, "What is recorded"), anchoring.stateBadge(record)),
      anchoring.sayings(record), address, told ? chain(told, record) : null, items.map(contract),
      record.confidential && record.anchoring === "anchored" ? el("p", { class: "small" }, "It is confidential: its bundle opens what is claimed of it for whoever has the file.") : null,
      content(record) && record.anchoring === "anchored" && told ? pins(told, record) : null,
      el("div", { class: "buttons" }, takes(record, act), more));
  });
}
