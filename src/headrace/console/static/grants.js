// To whom a dataset or model of ours is open, and for what.

import { send } from "./api.js";
import { confirmed } from "./ask.js";
import { el, refresh } from "./dom.js";
import { RIGHTS, RIGHTS_LONG, badge, when } from "./hubwords.js";
import * as who from "./who.js";
import { DAY, clip } from "./words.js";

function stateOf({ revoked_ms: revoked, expires_ms: expires }) {
  if (revoked !== null) return ["none", `Revoked ${when(revoked)}`];
  if (expires !== null && expires <= Date.now()) return ["none", `Expired ${when(expires)}`];
  return ["live", expires === null ? "Until revoked" : `Until ${when(expires)}`];
}

const live = (grant) => stateOf(grant)[0] === "live";

async function revoke(grant, act) {
  const words = {
    read: "Downloads end at once, also those under way. What was downloaded stays where it is.",
    train: "No new job can read it. What earlier jobs made stays held until you release it.",
    derive: "No new job can read it. What earlier jobs made stays with them.",
  };
  const yes = await confirmed({ title: `Take back ${clip(grant.grantee, 40)}’s right to ${RIGHTS[grant.right]} this?`, words: [words[grant.right]], action: "Revoke the grant" });
  if (yes) await act(() => send("DELETE", `/grants/${encodeURIComponent(grant.id)}`), `Revoked: ${grant.grantee} may no longer ${RIGHTS[grant.right]} it.`);
}

function line(grant, act) {
  const button = live(grant) && who.may("share") ? el("button", { type: "button", class: "quiet", "data-keep": `revoke ${grant.id}`, "aria-label": `Revoke the right of ${grant.grantee} to ${RIGHTS[grant.right]} it`, onclick: () => revoke(grant, act) }, "Revoke") : null;
  return el("li", { class: live(grant) ? "" : "gone" },
    el("span", {}, el("b", {}, clip(grant.grantee, 60)), ` may ${RIGHTS[grant.right]} it`), badge(stateOf(grant)), el("span", { class: "small" }, `granted by ${clip(grant.created_by, 40)} on ${when(grant.created_ms)}`), button);
}

/** The end of the chosen day, in the reader's own time. */
const endOf = (day) => (day ? new Date(`${day}T00:00:00`).getTime() + DAY - 1 : null);

function form(record, act) {
  const grantee = el("input", { id: "grantee", required: true, autocomplete: "off", spellcheck: "false", maxlength: "63", placeholder: "company" });
  const help = el("p", { class: "small", id: "right-help" });
  const right = el("select", { id: "right", "aria-describedby": "right-help", onchange: () => { help.textContent = explain(); } }, Object.entries(RIGHTS).map(([value, label]) => el("option", { value }, label)));
  const explain = () => `They may ${RIGHTS_LONG[right.value]}.${right.value === "train" ? " The code that trains reads the data: this does not hide them from it." : ""}`;
  const today = new Date();
  const expires = el("input", { id: "expires", type: "date", min: `${today.getFullYear()}-${String(today.getMonth() + 1).padStart(2, "0")}-${String(today.getDate()).padStart(2, "0")}` });
  help.textContent = explain();
  const submit = async (event) => {
    event.preventDefault();
    const wanted = { asset: record.id, grantee: grantee.value.trim(), right: right.value, expires_ms: endOf(expires.value) };
    await act(async () => { await send("POST", "/grants", wanted); grantee.value = ""; }, `Granted: ${wanted.grantee} may ${RIGHTS[wanted.right]} it.`);
  };
  return el("form", { class: "grant-form", onsubmit: submit },
    el("p", {}, el("label", { for: "grantee" }, "Open it to"), grantee), el("p", {}, el("label", { for: "right" }, "who may"), right), el("p", {}, el("label", { for: "expires" }, "until (empty: until revoked)"), expires),
    el("button", { type: "submit", class: "quiet strong", "data-keep": "grant" }, "Grant"), help);
}

/** The card of a record of ours; nothing for another company's. The form is built once, so that typing in it is left alone. */
export function grants(host, { record, grants: found, act }) {
  const own = who.mine(record);
  refresh(host, [own, own && record.deleted_ms !== null, record.held_for?.length, who.may("share"), record.id], () => {
    if (!own) return [];
    const held = record.held_for?.length > 0;
    const adding = who.may("share") && record.deleted_ms === null && !held;
    return el("section", { class: "card grants" }, el("h2", {}, "Who else may use it"), el("ul", { class: "given" }),
      adding ? form(record, act) : el("p", { class: "small" }, record.deleted_ms !== null ? "" : held ? "It is held, and can be opened to nobody until it is released." : "Opening it to another company needs the role admin."));
  });
  const list = host.querySelector(".given");
  if (!list || !found) return;
  refresh(list, [found, Math.floor(Date.now() / 60_000)], () => {
    if (found.failed) return el("li", { class: "small" }, `The grants could not be read: ${clip(found.failed, 200)}`);
    if (!found.length) return el("li", { class: "small" }, "Nobody but us.");
    return [...found].sort((a, b) => live(b) - live(a) || b.created_ms - a.created_ms).slice(0, 100).map((grant) => line(grant, act));
  });
}
