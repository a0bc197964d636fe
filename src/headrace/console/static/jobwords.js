// How long a job takes and how far it is, in words and as a bar.

import { el } from "./dom.js";
import { clip, lasting } from "./words.js";

/** How long it ran, or has been waiting. */
export function duration({ created_ms: created, started_ms: started, ended_ms: ended }) {
  if (started === null) return ended === null ? `waiting for ${lasting(Math.max(1000, Date.now() - created))}` : "never started";
  return `${ended === null ? "for" : "ran"} ${lasting(Math.max(1, (ended ?? Date.now()) - started))}`;
}

/** The bar of a running job with the code's own words; null for others. */
export function progress({ state, progress: share, message }, label) {
  if (state !== "running") return null;
  const percent = share === null ? "" : `${Math.floor(100 * share)} %`;
  return el("div", { class: "job-progress" }, el("progress", { max: "1", value: share === null ? null : Math.min(1, Math.max(0, share)), "aria-label": `Progress of ${label}` }), el("span", { class: "small" }, [percent, clip(message, 160)].filter(Boolean).join(" · ") || "no progress reported"));
}
