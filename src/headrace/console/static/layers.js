// Where the nodes of a lineage stand: layers from left to right by depth, few crossings within them.

/** Depth of each node: one more than the deepest it was made of. A circle, which there should not be, is cut where it closes. */
function depths(ids, parents) {
  const found = new Map();
  const open = new Set();
  const depth = (id) => {
    if (found.has(id)) return found.get(id);
    if (open.has(id)) return 0;
    open.add(id);
    const deepest = Math.max(-1, ...(parents.get(id) || []).map(depth));
    open.delete(id);
    found.set(id, deepest + 1);
    return deepest + 1;
  };
  ids.forEach(depth);
  return found;
}

let places = 0;
/** The places of a line, from its beginning to its end. */
function through(from, to, depth, layers) {
  const line = [from];
  for (let layer = depth.get(from) + 1; layer < depth.get(to); layer += 1) {
    places += 1;
    layers[layer].push(places);
    line.push(places);
  }
  return [...line, to];
}

/** What stands right before, and right after, each place on any line. */
function beside(lines) {
  const [before, after] = [new Map(), new Map()];
  for (const line of lines) for (let index = 1; index < line.length; index += 1) {
    before.set(line[index], [...(before.get(line[index]) || []), line[index - 1]]);
    after.set(line[index - 1], [...(after.get(line[index - 1]) || []), line[index]]);
  }
  return [before, after];
}

const mean = (numbers, otherwise) => (numbers.length ? numbers.reduce((sum, one) => sum + one, 0) / numbers.length : otherwise);

/** Put every layer in the order of the middle of its neighbours in the layer beside it: a few sweeps there and back. */
function untangle(layers, parents, children) {
  for (let sweep = 0; sweep < 6; sweep += 1) {
    const down = sweep % 2 === 0;
    const order = down ? layers : [...layers].reverse();
    const beside = down ? parents : children;
    const place = new Map(layers.flatMap((layer) => layer.map((id, index) => [id, index - layer.length / 2])));
    for (const layer of order) {
      const middle = new Map(layer.map((id) => [id, mean((beside.get(id) || []).map((other) => place.get(other)), place.get(id))]));
      layer.sort((a, b) => middle.get(a) - middle.get(b));
      layer.forEach((id, index) => place.set(id, index - layer.length / 2));
    }
  }
}

/**
 * { layers: [[id, …], …], lines: [[from, …, to], …], parents } of a lineage's nodes and edges. A line over several layers has
 * a place kept free in each, whose id is a number; edges to nodes that are not there are left out.
 */
export function layersOf({ nodes, edges }) {
  const ids = nodes.map(({ id }) => id);
  const known = new Set(ids);
  const [parents, children] = [new Map(), new Map()];
  for (const [from, to] of edges) {
    if (!known.has(from) || !known.has(to) || from === to) continue;
    parents.set(to, [...(parents.get(to) || []), from]);
    children.set(from, [...(children.get(from) || []), to]);
  }
  const depth = depths(ids, parents);
  // What nothing was made of stands right before the first thing that was made of it, so that lines stay short.
  for (const id of ids) if (!parents.has(id) && children.has(id)) depth.set(id, Math.max(0, Math.min(...children.get(id).map((child) => depth.get(child))) - 1));
  const layers = [];
  for (const id of ids) (layers[depth.get(id)] ??= []).push(id);
  for (let layer = 0; layer < layers.length; layer += 1) layers[layer] ??= []; // a circle can leave one empty
  const lines = [...parents].flatMap(([to, sources]) => sources.map((from) => through(from, to, depth, layers)));
  untangle(layers, ...beside(lines));
  return { layers, lines, parents };
}
