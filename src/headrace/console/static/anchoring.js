// Whether a record stands on the ledger, in words.

import { el } from "./dom.js";
import { badge } from "./hubwords.js";
import { clip, sentence } from "./words.js";

const REVOKED = "revoked: "; // how the note of a revoked record begins

const STATES = {
  off: { badge: ["none", "Not recorded"], brief: "", says: "There is no ledger here: nothing of it is recorded where it could not be changed later." },
  waiting: { badge: ["busy", "Waiting for the ledger"], brief: "waiting for the ledger", says: "Not all of it is on the ledger yet. It is sent again until the ledger has answered; nothing is lost meanwhile." },
  anchored: { badge: ["live", "Anchored"], brief: "anchored", says: "Its claim is on the ledger, where it cannot be changed any more. Whether this record still says the same is what Verify compares; description, author and limits are no part of the claim." },
  failed: { badge: ["failed", "Could not be recorded"], brief: "not recorded", says: "The ledger refused it for good. The next start of the platform tries again." },
};

/** The reason it was revoked for; null: it was not. */
export function revoked({ anchoring_note: note }) {
  return note.startsWith(REVOKED) ? note.slice(REVOKED.length) : null;
}

export const stateBadge = (record) => badge(revoked(record) === null ? STATES[record.anchoring].badge : ["failed", "Revoked"]);

/** A few words for a row; null where there is nothing to say. */
export function mark(record) {
  if (revoked(record) !== null) return badge(["failed", "Revoked"]);
  const { brief } = STATES[record.anchoring];
  return brief ? el("span", { class: "anchor", "data-anchoring": record.anchoring }, brief) : null;
}

/** What its state means, with what the platform notes about it. */
export function sayings(record) {
  const gone = revoked(record) !== null;
  const note = gone ? "" : record.anchoring_note;
  return [
    el("p", {}, gone && record.anchoring === "anchored" ? "Its claim is on the ledger, and that it was revoked: for ever, and for everybody to read." : STATES[record.anchoring].says),
    note ? el("p", { class: "note", "data-look": record.anchoring === "failed" ? "bad" : "warn" }, clip(sentence(note), 1000)) : null,
  ].filter(Boolean);
}
