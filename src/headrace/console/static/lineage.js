// What a thing was made of, and what was made of it, drawn from left to right. Every node that is known can be opened.

import { el, refresh, svg } from "./dom.js";
import { linkOf } from "./hubwords.js";
import { layersOf } from "./layers.js";
import * as who from "./who.js";
import { clip, many } from "./words.js";

const BOX = { wide: 178, tall: 50, across: 46, down: 14, edge: 8 };
const LETTERS = 25;
const MOST = 400;

const hidden = ({ name, company }) => !name && !company;
const opens = ({ kind, id }) => ["dataset", "model", "job"].includes(kind) && /^(ds|md|jb)_\w+$/.test(id);

function words(node) {
  if (hidden(node)) return { title: "not yours", under: `${node.kind} of another company` };
  const owner = node.company && !who.mine(node) ? ` of ${node.company}` : "";
  return { title: node.name || node.id, under: `${node.kind}${owner}${node.deleted ? ", deleted" : node.state && node.state !== "done" ? `, ${node.state}` : ""}` };
}

function places({ layers }) {
  const tallest = Math.max(...layers.map((layer) => layer.length));
  const height = tallest * (BOX.tall + BOX.down) - BOX.down + 2 * BOX.edge;
  const found = new Map();
  layers.forEach((layer, column) => {
    const top = (height - layer.length * (BOX.tall + BOX.down) + BOX.down) / 2;
    layer.forEach((id, row) => found.set(id, { x: BOX.edge + column * (BOX.wide + BOX.across), y: top + row * (BOX.tall + BOX.down) }));
  });
  return { found, width: layers.length * (BOX.wide + BOX.across) - BOX.across + 2 * BOX.edge, height };
}

function box(node, { x, y }, here, sources) {
  const { title, under } = words(node);
  const link = opens(node) && !hidden(node) && node.id !== here;
  const from = sources.length ? `; made of ${sources.map((one) => words(one).title).join(", ")}` : "";
  const root = svg(link ? "a" : "g", {
    class: "node", "data-kind": node.kind, "data-here": node.id === here ? "yes" : null, "data-hidden": hidden(node) ? "yes" : null, "data-gone": node.deleted ? "yes" : null,
    href: link ? linkOf(node.id) : null, "data-keep": `node ${node.id}`, transform: `translate(${x} ${y})`, role: link ? null : "img", "aria-label": `${title}, ${under}${node.id === here ? ", this one" : ""}${from}`,
  });
  root.append(
    svg("rect", { class: "box", width: BOX.wide, height: BOX.tall, rx: 8 }), svg("rect", { class: "stripe", x: 0, y: 8, width: 4, height: BOX.tall - 16, rx: 2 }),
    svg("text", { class: "title", x: 14, y: 21 }, clip(title, LETTERS - 2)), svg("text", { class: "under", x: 14, y: 38 }, clip(under, LETTERS + 2)),
    svg("title", {}, `${title}\n${under}\n${node.id}`));
  return root;
}

function curve(from, to) {
  const [x1, y1, x2, y2] = [from.x + BOX.wide, from.y + BOX.tall / 2, to.x, to.y + BOX.tall / 2];
  const bend = Math.max(24, Math.abs(x2 - x1) / 2);
  return svg("path", { class: "edge", d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2 - 5} ${y2}`, "marker-end": "url(#made)" });
}

function draw(lineage, here) {
  const tree = layersOf(lineage);
  const { found, width, height } = places(tree);
  const nodes = new Map(lineage.nodes.map((node) => [node.id, node]));
  const root = svg("svg", { class: "lineage", width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Lineage, from left to right" });
  root.append(svg("defs", {}, svg("marker", { id: "made", viewBox: "0 0 8 8", refX: 5, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, svg("path", { class: "head", d: "M0 0L8 4L0 8z" }))));
  for (const [to, sources] of tree.parents) for (const from of sources) root.append(curve(found.get(from), found.get(to)));
  for (const id of tree.layers.flat()) root.append(box(nodes.get(id), found.get(id), here, (tree.parents.get(id) || []).map((one) => nodes.get(one))));
  return { root, at: found.get(here) };
}

/** Draw it into `host`; `found` is a Lineage, null while it is not known, or { failed: why }. */
export function lineage(host, found, here) {
  refresh(host, [found, here, who.me()], () => {
    const card = (...children) => el("section", { class: "card" }, el("h2", {}, "Lineage"), ...children);
    if (!found) return [];
    if (found.failed) return card(el("p", { class: "small" }, `It could not be read: ${clip(found.failed, 200)}`));
    if (!found.nodes.length || (found.nodes.length === 1 && !found.edges.length)) return card(el("p", { class: "small" }, "Nothing is known to be made of it, and it was made of nothing that is known here."));
    const { nodes, edges } = found.nodes.length > MOST ? { nodes: found.nodes.slice(0, MOST), edges: found.edges } : found;
    const { root, at } = draw({ nodes, edges }, here);
    const scroll = el("div", { class: "scroll graph", tabindex: "0", role: "region", "aria-label": "Lineage" }, root);
    requestAnimationFrame(() => { if (at) scroll.scrollLeft = at.x - (scroll.clientWidth - BOX.wide) / 2; });
    const unseen = nodes.filter(hidden).length;
    const said = [
      "Each was made of what stands to the left of it.", unseen ? `${many(unseen, "node")} belong${unseen === 1 ? "s" : ""} to a company that has not opened ${unseen === 1 ? "it" : "them"} to us.` : "",
      found.nodes.length > MOST ? `The first ${MOST} of ${found.nodes.length} are drawn.` : "",
    ];
    return card(el("p", { class: "small" }, said.filter(Boolean).join(" ")), scroll);
  });
}
