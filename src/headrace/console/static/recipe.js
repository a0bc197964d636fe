// The recipe of a model: everything its training depended on.

import { copyable, el } from "./dom.js";
import { linkOf } from "./hubwords.js";
import { bytes, clip, count, number, span } from "./words.js";

const fact = (term, ...value) => el("div", {}, el("dt", {}, term), el("dd", {}, ...value));
const said = (value) => (typeof value === "number" ? number(value, 6) : typeof value === "boolean" ? (value ? "true" : "false") : String(value));

/** `names`: id -> name of what is known beside it. `link`: to the code, or null. */
export function recipe({ recipe: found, metadata }, names, link) {
  if (!found) return null;
  const links = (ids) => ids.flatMap((id, index) => [index ? ", " : "", el("a", { href: linkOf(id), title: id }, clip(names[id] || id, 60))]);
  const list = (entries) => (entries.length ? el("ul", { class: "pairs" }, entries.map(([name, value]) => el("li", {}, el("code", {}, `${clip(name, 80)} = ${clip(said(value), 200)}`)))) : "none");
  const { environment, limits } = found;
  const requires = Object.entries(environment.requires).map(([name, version]) => `${name} ${version}`).join(", ");
  return el("section", { class: "card" }, el("h2", {}, "Recipe"), el("dl", { class: "details" }, [
    fact("Entry point", el("code", {}, found.entry_point)),
    fact("Parameters", list(Object.entries({ ...found.parameters, ...metadata.hyperparameters }))),
    fact("Seeds", list(Object.entries(found.seeds))),
    fact("Trained on", ...(found.datasets.length ? links(found.datasets) : ["no dataset"])),
    found.evaluation.length ? fact("Measured on", ...links(found.evaluation)) : null,
    found.parent ? fact("Starts from", ...links([found.parent])) : null,
    environment.image ? fact("Container image", el("code", {}, environment.image)) : null,
    requires ? fact("Needs exactly", requires) : null,
    environment.fingerprint ? fact("Environment", copyable(environment.fingerprint, "the digest of the environment")) : null,
    fact("Limits", `${bytes(limits.memory_bytes)} of memory, ${number(limits.cpus)} ${limits.cpus === 1 ? "core" : "cores"}, ${count(limits.processes)} processes, ${span(limits.seconds * 1000)}`),
    fact("Deterministic", found.deterministic ? "declared so" : "declared not to be"),
    fact("Code", `${bytes(found.code.size)} `, copyable(found.code.sha256, "the digest of the code"), ...(link ? [" ", link] : [])),
  ].filter(Boolean)));
}
