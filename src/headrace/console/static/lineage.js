// What a thing was made of, and what was made of it, drawn from left to right. Every node that is known can be opened.

import { el, refresh, svg } from "./dom.js";
import { linkOf } from "./hubwords.js";
import { layersOf } from "./layers.js";
import * as who from "./who.js";
import { clip } from "./words.js";

const BOX = { wide: 192, tall: 50, across: 46, down: 14, edge: 8, line: 6, letters: 25 };
const NARROW = { ...BOX, wide: 140, across: 26, letters: 18 }; // two beside each other on a telephone
const MOST = 400;

const hidden = ({ id }) => id.startsWith("hidden_");
const opens = ({ id }) => /^(ds|md|jb)_\w+$/.test(id);

const KINDS = { translation: "ONNX translation", snapshot: "online snapshot" };
/** States that say no more than the kind does, or nothing new. */
const USUAL = ["done", "translated", "snapshot"];

function words(node) {
  const kind = KINDS[node.kind] || node.kind;
  const state = node.state && !USUAL.includes(node.state) ? `, ${node.state}` : "";
  if (hidden(node)) return { title: "not yours", under: `${/^[aeiou]/i.test(kind) ? "an" : "a"} ${kind} of ${node.company || "somebody else"}${state}` };
  const owner = node.company && !who.mine(node) ? ` of ${node.company}` : "";
  return { title: node.name || node.id, under: `${kind}${owner}${node.deleted ? ", deleted" : node.revoked ? ", revoked" : state}` };
}

function places({ layers }, BOX) {
  const tall = (id) => (typeof id === "number" ? BOX.line : BOX.tall);
  const sizes = layers.map((layer) => layer.reduce((sum, id) => sum + tall(id) + BOX.down, -BOX.down));
  const height = Math.max(...sizes) + 2 * BOX.edge;
  const found = new Map();
  layers.forEach((layer, column) => {
    let y = (height - sizes[column]) / 2;
    for (const id of layer) {
      found.set(id, { x: BOX.edge + column * (BOX.wide + BOX.across), y, middle: y + tall(id) / 2 });
      y += tall(id) + BOX.down;
    }
  });
  return { found, width: layers.length * (BOX.wide + BOX.across) - BOX.across + 2 * BOX.edge, height };
}

function box(node, { x, y }, here, sources, BOX) {
  const { title, under } = words(node);
  const link = opens(node) && !hidden(node) && node.id !== here;
  const from = sources.length ? `; made of ${sources.map((one) => words(one).title).join(", ")}` : "";
  const root = svg(link ? "a" : "g", {
    class: "node", "data-kind": node.kind, "data-here": node.id === here ? "yes" : null, "data-hidden": hidden(node) ? "yes" : null, "data-gone": node.deleted ? "yes" : null,
    href: link ? linkOf(node.id) : null, "data-keep": `node ${node.id}`, transform: `translate(${x} ${y})`, role: link ? null : "img", "aria-label": `${title}, ${under}${node.id === here ? ", this one" : ""}${from}`,
  });
  root.append(
    svg("rect", { class: "box", width: BOX.wide, height: BOX.tall, rx: 8 }), svg("rect", { class: "stripe", x: 0, y: 8, width: 4, height: BOX.tall - 16, rx: 2 }),
    svg("text", { class: "title", x: 14, y: 21 }, clip(title, BOX.letters - 2)), svg("text", { class: "under", x: 14, y: 38 }, clip(under, BOX.letters + 2)),
    svg("title", {}, `${title}\n${under}\n${node.id}`));
  return root;
}

/** From box to box, straight through the places kept free between them. */
function curve(line, BOX) {
  let path = `M${line[0].x + BOX.wide} ${line[0].middle}`;
  for (let index = 1; index < line.length; index += 1) {
    const [from, to, last] = [line[index - 1], line[index], index === line.length - 1];
    const bend = BOX.across / 2;
    path += `C${from.x + BOX.wide + bend} ${from.middle} ${to.x - bend} ${to.middle} ${to.x - (last ? 5 : 0)} ${to.middle}${last ? "" : `H${to.x + BOX.wide}`}`;
  }
  return svg("path", { class: "edge", d: path, "marker-end": "url(#made)" });
}

function draw(lineage, here, BOX) {
  const tree = layersOf(lineage);
  const { found, width, height } = places(tree, BOX);
  const nodes = new Map(lineage.nodes.map((node) => [node.id, node]));
  const root = svg("svg", { class: "lineage", width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Lineage, from left to right" });
  root.append(svg("defs", {}, svg("marker", { id: "made", viewBox: "0 0 8 8", refX: 5, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, svg("path", { class: "head", d: "M0 0L8 4L0 8z" }))));
  root.append(...tree.lines.map((line) => curve(line.map((id) => found.get(id)), BOX)));
  for (const id of tree.layers.flat()) if (nodes.has(id)) root.append(box(nodes.get(id), found.get(id), here, (tree.parents.get(id) || []).map((one) => nodes.get(one)), BOX));
  return { root, at: found.get(here) };
}

/** Where the part that is seen first begins: this one in its middle, or beside what it was made of if three do not fit. */
function begin(x, seen, { wide, across, edge }) {
  const column = wide + across;
  return seen < 3 * column ? x - column - edge : x - (seen - wide) / 2;
}

/** Draw it into `host`; `found` is a Lineage, null while it is not known, or { failed: why }. */
export function lineage(host, found, here) {
  refresh(host, [found, here, who.me()], () => {
    const card = (...children) => el("section", { class: "card" }, el("h2", {}, "Lineage"), ...children);
    if (!found) return [];
    if (found.failed) return card(el("p", { class: "small" }, `It could not be read: ${clip(found.failed, 200)}`));
    if (!found.nodes.length || (found.nodes.length === 1 && !found.edges.length)) return card(el("p", { class: "small" }, "Nothing is known to be made of it, and it was made of nothing that is known here."));
    const { nodes, edges } = found.nodes.length > MOST ? { nodes: found.nodes.slice(0, MOST), edges: found.edges } : found;
    const size = host.clientWidth && host.clientWidth < 2 * (BOX.wide + BOX.across) ? NARROW : BOX;
    const { root, at } = draw({ nodes, edges }, here, size);
    const scroll = el("div", { class: "scroll graph", tabindex: "0", role: "region", "aria-label": "Lineage" }, root);
    requestAnimationFrame(() => { if (at) scroll.scrollLeft = begin(at.x, scroll.clientWidth, size); });
    const unseen = nodes.filter(hidden).length;
    const said = [
      "Each was made of what stands to the left of it.", unseen ? `${unseen === 1 ? "One belongs to a company that has not opened it" : `${unseen} belong to companies that have not opened them`} to us.` : "",
      found.nodes.length > MOST ? `The first ${MOST} of ${found.nodes.length} are drawn.` : "",
    ];
    return card(el("p", { class: "small" }, said.filter(Boolean).join(" ")), scroll);
  });
}
