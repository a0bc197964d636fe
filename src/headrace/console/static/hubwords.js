// States, shapes and owners of what companies share, in plain words.

import { el } from "./dom.js";
import * as who from "./who.js";
import { clip, count, fullMoment, localZone, many, span, zoneName } from "./words.js";

export const isModel = (asset) => "held_for" in asset;
export const kindOf = (asset) => (isModel(asset) ? "model" : "dataset");
export const pathOf = (asset) => `/${kindOf(asset)}s/${encodeURIComponent(asset.id)}`;

/** What shows in a badge: [look, words]; looks are those of the page's badges. */
const MODEL = {
  registered: ["busy", "Registered"], training: ["busy", "Training"], trained: ["live", "Trained"], failed: ["failed", "Training failed"],
  cancelled: ["none", "Training cancelled"], uploaded: ["none", "Uploaded"], translated: ["live", "Translated"], snapshot: ["live", "Snapshot"],
};
const STATISTICS = { pending: ["busy", "Being measured"], done: ["live", "Ready"], failed: ["waiting", "Ready, not measured"], none: ["none", "Ready"] };
export const JOB = { queued: ["waiting", "Queued"], running: ["busy", "Running"], done: ["live", "Done"], failed: ["failed", "Failed"], cancelled: ["none", "Cancelled"] };
export const RIGHTS = { read: "read", train: "train on", derive: "derive from" };
export const RIGHTS_LONG = {
  read: "download it",
  train: "have a job read it; what the job makes (files, metrics, log) stays with you until you release it",
  derive: "have a job read it, and keep what it makes",
};

export function stateOf(asset) {
  if (asset.deleted_ms !== null) return ["none", "Deleted"];
  if (!isModel(asset)) return STATISTICS[asset.statistics_state] || ["none", asset.statistics_state];
  if (asset.held_for.length) return ["waiting", asset.held_for.some((company) => who.mine({ company })) ? "Held by us" : "Held"];
  return MODEL[asset.state] || ["none", asset.state];
}

export const badge = ([look, words]) => el("span", { class: "badge", "data-state": look }, words);

export const sizeOf = (asset) => (isModel(asset) ? asset.files.reduce((sum, { stored }) => sum + stored.size, 0) : asset.stored.size);

const dims = (shape) => (shape.length ? shape.map((size) => (size < 0 ? "any" : count(size))).join(" × ") : "one number");

/** "12,034 × 6", as an array of samples; "24 × 6 in, 24 out". */
export function shapeOf(asset) {
  if (isModel(asset)) {
    const parts = [asset.input_shape ? `${dims(asset.input_shape)} in` : "", asset.output_shape ? `${dims(asset.output_shape)} out` : ""];
    return parts.filter(Boolean).join(", ") || "–";
  }
  if (asset.samples === null) return "–";
  return asset.sample_shape?.length ? `${count(asset.samples)} × ${dims(asset.sample_shape)}` : many(asset.samples, "sample");
}

export const ownerOf = ({ company }) => (who.mine({ company }) ? "us" : clip(company, 40));
/** A moment in the reader's own zone, which is said: a page is read by people in several. */
export const when = (ms) => `${fullMoment(ms, localZone())} ${zoneName(localZone(), ms).split(", ").pop()}`;
export const ago = (ms) => `${span(Date.now() - ms)} ago`;
/** Whether the page should look again soon. */
export const busy = (asset) => asset.deleted_ms === null && (isModel(asset) ? ["registered", "training"].includes(asset.state) : asset.statistics_state === "pending");
export const REPRODUCIBLE = { unknown: ["none", "Reproducibility unknown"], reproduced: ["live", "Reproduced"], never: ["waiting", "Not reproducible"] };
/** An id by itself tells what it names. */
export const linkOf = (id) => (id.startsWith("jb_") ? `#jobs/${id}` : `#library/${id}`);
/** A list that some doors send bare and some in `items`. */
export const itemsOf = (answer) => (Array.isArray(answer) ? answer : answer?.items || []);
