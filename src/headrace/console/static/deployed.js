// Registered ONNX models that answer at the inference doors: the list of them, and the form that takes one into service.

import { get, send } from "./api.js";
import { confirmed } from "./ask.js";
import { copyable, el, refresh } from "./dom.js";
import { badge } from "./hubwords.js";
import * as who from "./who.js";
import { clip, count } from "./words.js";

const SMALL = 64; // numbers that still fit a line to copy
const ENDED = ["trained", "uploaded", "translated", "snapshot"];

const axes = (shape) => `${shape.map((size) => (size < 0 ? "n" : String(size))).join(" × ") || "any shape"}`;

const ports = (list) => (list || []).map(({ name, datatype, shape }) => el("span", { class: "port" }, el("code", {}, clip(name, 40)), ` ${datatype} ${axes(shape)}`));

/** A line that asks it for one sample of zeros; of large inputs, one that says what it takes. */
function curl({ name, inputs }) {
  const head = 'curl -H "Authorization: Bearer $(headrace token)"';
  const address = `${location.origin}/v2/models/${name}`;
  const shapes = inputs.map(({ shape }) => shape.map((size) => Math.max(size, 1)));
  const sizes = shapes.map((shape) => shape.reduce((all, size) => all * size, 1));
  const plain = inputs.every((port) => /^[\w.:/-]*$/.test(port.name)); // it goes into a shell
  if (!plain || sizes.reduce((all, size) => all + size, 0) > SMALL) return `${head} ${address}`;
  const tensors = inputs.map((port, index) => ({ name: port.name, datatype: port.datatype, shape: shapes[index], data: Array(sizes[index]).fill(port.datatype === "BOOL" ? false : 0) }));
  return `${head} ${address}/infer -d '${JSON.stringify({ inputs: tensors })}'`;
}

async function remove(one, done) {
  const yes = await confirmed({
    title: `Take “${clip(one.name, 63)}” out of service?`,
    words: ["It answers nobody any more. The registered model stays in the library, and can be deployed again."],
    action: "Take it out of service",
  });
  if (!yes) return;
  try {
    await send("DELETE", `/api/specs/${encodeURIComponent(one.name)}`);
    done("");
  } catch (error) {
    done(error.message);
  }
}

function line(one, done) {
  const cell = (label, ...children) => el("td", { "data-label": label }, ...children);
  const model = one.spec.model;
  return el("tr", {},
    el("th", { scope: "row" }, clip(one.name, 63)),
    cell("Model", model ? el("a", { href: `#library/${model}`, "data-keep": `deployed ${one.name}` }, el("code", {}, model)) : "–"),
    cell("State", badge(one.state === "ready" ? ["live", "Answers"] : ["failed", "Cannot answer"]), one.detail ? el("p", { class: "small" }, clip(one.detail, 300)) : null),
    cell("Computed on", one.provider || "–"),
    cell("Takes", ...ports(one.inputs)),
    cell("Gives", ...ports(one.outputs)),
    cell("Answers", count(one.answers)),
    cell("Ask it", one.inputs ? copyable(curl(one), `the command that asks ${one.name}`) : "–",
      who.may("write") ? el("button", { type: "button", class: "quiet risky", "data-keep": `undeploy ${one.name}`, onclick: () => remove(one, done) }, "Take out of service") : null));
}

/** The card of what is deployed; nothing where there is none. `done(error)` is called after something was taken out. */
export function deployed(host, { list, error, done }) {
  refresh(host, [list, error, who.me()], () => {
    if (!list?.length && !error) return [];
    return el("section", { class: "card list deployed", "aria-labelledby": "deployed-title" },
      el("h2", { id: "deployed-title" }, "Deployed"),
      error ? el("p", { class: "note", "data-look": "warn", role: "alert" }, clip(error, 300)) : null,
      el("table", { class: "rows columns" },
        el("thead", {}, el("tr", {}, ["Name", "Model", "State", "Computed on", "Takes", "Gives", "Answers", "Ask it"].map((name) => el("th", { scope: "col" }, name)))),
        el("tbody", {}, (list || []).map((one) => line(one, done)))));
  });
}

// ---- taking one into service -----------------------------------------------------------------------------------------

export const canDeploy = (record) => "held_for" in record && record.deleted_ms === null && !record.held_for.length && ENDED.includes(record.state) && record.files.filter(({ path }) => path.endsWith(".onnx")).length === 1 && who.may("write");

const slug = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 63).replace(/-+$/, "");

/** The form, with the providers there are; `act` does something and says how it went. */
export async function deployForm(record, act) {
  const here = await get("/api/deployments/providers");
  const name = el("input", { id: "deploy-name", required: true, autocomplete: "off", spellcheck: "false", maxlength: "63", pattern: "[a-z0-9]([a-z0-9.\\-]{0,61}[a-z0-9])?", title: "Lower-case letters, digits, dots and dashes" });
  name.value = slug(record.name);
  const provider = el("select", { id: "deploy-provider" }, here.map((value) => el("option", { value }, value)));
  provider.value = here.includes("cpu") ? "cpu" : here[0];
  const submit = async (event) => {
    event.preventDefault();
    const spec = { kind: "Deployment", metadata: { name: name.value.trim() }, model: record.id, providers: [provider.value] };
    await act(async () => {
      await send("PUT", "/api/specs", { text: JSON.stringify(spec), file: "(this page)", files: {} }); // JSON is YAML
    }, `It answers at /v2/models/${spec.metadata.name}/infer, and is listed in the library.`, "It is being opened…");
  };
  return el("form", { class: "grant-form", onsubmit: submit },
    el("p", {}, el("label", { for: "deploy-name" }, "Name at the inference doors"), name),
    el("p", {}, el("label", { for: "deploy-provider" }, "Computed on"), provider),
    el("button", { type: "submit", class: "quiet strong", "data-keep": "deploy-go" }, "Deploy"),
    el("p", { class: "small" }, "A copy answers from then on, in a process of this company’s. It learns nothing, and goes on when the grant it was read with ends."));
}
