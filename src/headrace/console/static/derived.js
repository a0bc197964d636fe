// Models that no recipe trained: what a translation was made of and how near its answers are; which online model published a snapshot.

import { copyable, el } from "./dom.js";
import { when } from "./hubwords.js";
import { clip, count, many, number, sentence, tiny } from "./words.js";

const FRAMEWORKS = { torch: "PyTorch", sklearn: "scikit-learn", keras: "Keras", tensorflow: "TensorFlow" };
const DROPOUT = { eval: "switched off, as for answering", "train-fixed": "kept on, with fixed masks" };

const fact = (term, ...value) => el("div", {}, el("dt", {}, term), el("dd", {}, ...value));
const difference = (value) => (value === 0 ? "none: the same" : tiny(value));

function originOf(parity) {
  const parts = [[parity.real, "recorded"], [parity.edge, "edge cases"], [parity.made, "made at random"]];
  return parts.map(([size, words]) => `${size ? count(size) : "none"} ${words}`).join(", ");
}

/** Why a certificate shows little; nothing if it does not. */
function doubts({ real, constant }) {
  const outputs = (constant || []).slice(0, 8).map((name) => `“${clip(name, 60)}”`).join(", ");
  return [
    real ? "" : "Nothing recorded was compared: all inputs were made up, so it says little of those the model is made for.",
    outputs ? `The original’s answers were all the same (output ${outputs}): a constant would have passed this comparison.` : "",
  ].filter(Boolean).map((words) => el("p", { class: "notice" }, words));
}

function certificate({ parity, dtypes, dropout, opset }) {
  const share = parity.scale ? ` (${tiny(parity.worst / parity.scale)} of the largest answer)` : "";
  const rows = [
    ["Inputs compared", `${count(parity.inputs)}: ${originOf(parity)}`],
    ["Largest difference", `${difference(parity.worst)}${parity.worst ? share : ""}`],
    ["Mean difference", difference(parity.mean)],
    ["Largest answer of the original", number(parity.scale, 4)],
    ["Allowed difference", tiny(parity.tolerance)],
    ["Number types", dtypes || "unchanged"],
    ["Dropout", DROPOUT[dropout] || dropout],
    ["ONNX opset", String(opset)],
  ];
  return el("table", { class: "parity" }, el("caption", {}, "Parity certificate"), el("tbody", {}, rows.map(([term, value]) => el("tr", {}, el("th", { scope: "row" }, term), el("td", {}, clip(value, 200))))));
}

export const frameworkOf = (name) => FRAMEWORKS[name] || clip(name, 40);

/** The card of a translated model, or null. */
export function translation({ translation: found }, names) {
  if (!found) return null;
  const versions = Object.entries(found.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  return el("section", { class: "card" }, el("h2", {}, "Translation"),
    el("p", { class: "small" }, "The original was asked in the sandbox that translated it; the translation was asked the same, and compared, in a second one, which runs none of the model’s code. What differs by more than is allowed is refused."), ...doubts(found.parity), certificate(found),
    el("dl", { class: "details" }, fact("Original", el("a", { href: `#library/${found.of}`, title: found.of }, clip(names[found.of] || found.of, 60)), ` (${frameworkOf(found.framework)})`), fact("Digest of the original", copyable(found.digest, "the digest of the original")), fact("Written by", clip(found.exporter, 60)), fact("Versions", clip(versions || "–", 400))));
}

/** The card of a snapshot, or null. */
export function snapshot({ snapshot: found, metadata }, fingerprint) {
  if (!found) return null;
  const digest = (label, text) => fact(label, copyable(text, `the ${label.toLowerCase()}`));
  const why = typeof metadata.decision?.reason === "string" ? metadata.decision.reason : "";
  return el("section", { class: "card" }, el("h2", {}, "Snapshot of an online model"),
    el("p", { class: "small" }, `Its weights are a function of ${many(found.records, "record")} of the log alone: replayed, they give it again.`),
    el("dl", { class: "details" }, [
      fact("Online model", el("a", { href: `#${new URLSearchParams({ model: found.model, ...(found.key ? { key: found.key } : {}) })}` }, clip(found.model, 80))), found.key ? fact("Key", clip(found.key, 80)) : null, fact("Published (time of the readings)", when(found.published_ms)), why ? fact("Because", sentence(clip(why, 400))) : null, found.topics?.length ? fact("Topics", clip(found.topics.join(", "), 400)) : null, fact("Log", `positions ${count(found.first_position)} to ${count(found.last_position)}: ${many(found.records, "record")}`),
      digest("Root of the records", found.root), digest("Digest of the spec", found.spec), fact("Generation", found.generation.length > 12 ? copyable(found.generation, "the generation") : found.generation), found.environment === fingerprint ? null : digest("Environment", found.environment),
    ].filter(Boolean)));
}

const ENDED = ["trained", "uploaded", "snapshot"];

/** A snapshot is its weights: only the platform's own network can be made of them. */
const isNetwork = ({ snapshot: found, metadata }) => !found || metadata.network?.module === "gru";

/** Whether a translation may be asked for; what stands against it, the service says. */
export const canTranslate = (record) => isNetwork(record) && "held_for" in record && record.deleted_ms === null && record.translation === null && record.framework !== "onnx" && [...ENDED, "registered", "training"].includes(record.state) && !record.held_for.length;

export const sayingOf = (record, names) => {
  if (record.translation) return `Translated from “${clip(names[record.translation.of] || record.translation.of, 60)}” (${frameworkOf(record.translation.framework)}) to ONNX, from which other runtimes read.`;
  if (record.snapshot) return sentence(`published by the online model “${clip(record.snapshot.model, 60)}”${record.snapshot.key ? ` for ${clip(record.snapshot.key, 60)}` : ""}, not trained by a job.`);
  return "";
};
