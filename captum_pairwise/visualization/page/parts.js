'use strict';
// Places of the parts of a photo: the owners of the cells of a raster, the middles and the outlines of the parts.

const NOBODY = -1;
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Raster from Python: with run lengths in `runs`; without `runs`, each cell is a part. Parts of volumes, videos and sounds have `names`. */
class Raster {
  constructor({ n, width, height, runs, names }) {
    Object.assign(this, { n, width, height, names, isGrid: !runs });
    this.owners = runs ? unrollRuns(runs, width * height) : Int32Array.from({ length: width * height }, (_, cell) => cell);
    this.boxes = computeBoxes(this);
    this.middles = computeMiddles(this);
    this.outlines = new Map();
    this.grid = null;
  }

  /** Part at a place, both coordinates from 0 to 1, or NOBODY. */
  at(x, y) {
    const column = Math.floor(x * this.width), row = Math.floor(y * this.height);
    if (column < 0 || row < 0 || column >= this.width || row >= this.height) return NOBODY;
    return this.owners[row * this.width + column];
  }

  outline(index) {
    if (!this.outlines.has(index)) this.outlines.set(index, buildOutline(this, index));
    return this.outlines.get(index);
  }
}

/** Outlines of all parts. */
function buildGrid(raster) {
  if (!raster.grid) {
    raster.grid = new Path2D();
    for (let index = 0; index < raster.n; index++) raster.grid.addPath(raster.outline(index));
  }
  return raster.grid;
}

function unrollRuns(runs, length) {
  const owners = new Int32Array(length);
  let start = 0;
  for (let k = 0; k < runs.length; k += 2) {
    owners.fill(runs[k], start, start + runs[k + 1]);
    start += runs[k + 1];
  }
  return owners;
}

function eachCell({ owners, width }, visit) {
  owners.forEach((owner, cell) => {
    if (owner !== NOBODY) visit(owner, cell % width, Math.floor(cell / width));
  });
}

function computeBoxes(raster) {
  const boxes = Array.from({ length: raster.n }, () => null);
  eachCell(raster, (owner, x, y) => {
    const box = (boxes[owner] ??= { left: x, right: x, top: y, bottom: y, sumX: 0, sumY: 0, count: 0 });
    box.left = Math.min(box.left, x);
    box.right = Math.max(box.right, x);
    box.bottom = y;
    box.sumX += x;
    box.sumY += y;
    box.count += 1;
  });
  return boxes;
}

/** For each part, its cell nearest to its centre of mass (the centre itself may be outside); coordinates from 0 to 1. */
function computeMiddles(raster) {
  const nearest = Array.from({ length: raster.n }, () => ({ distance: Infinity }));
  eachCell(raster, (owner, x, y) => {
    const { sumX, sumY, count } = raster.boxes[owner];
    const distance = (x - sumX / count) ** 2 + (y - sumY / count) ** 2;
    if (distance < nearest[owner].distance) nearest[owner] = { x, y, distance };
  });
  return nearest.map(({ x, y, distance }) =>
    distance === Infinity ? null : { x: (x + 0.5) / raster.width, y: (y + 0.5) / raster.height });
}

/** Corners of the outline of a part, one list for each loop, in cells of the raster. */
function traceLoops(raster, index) {
  const next = listEdges(raster, index), loops = [];
  while (next.size) {
    const [start] = next.keys(), loop = [];
    for (let key = start; next.has(key);) {
      loop.push(key.split(' ').map(Number));
      const ends = next.get(key), end = ends.pop();
      if (!ends.length) next.delete(key);
      key = end;
    }
    loops.push(loop);
  }
  return loops;
}

/** Edges between a part and its surroundings, clockwise: for each corner, the next corners. */
function listEdges(raster, index) {
  const { left, right, top, bottom } = raster.boxes[index], next = new Map();
  const inside = (x, y) => x >= 0 && y >= 0 && x < raster.width && y < raster.height && raster.owners[y * raster.width + x] === index;
  const add = (x1, y1, x2, y2) => {
    const key = `${x1} ${y1}`;
    if (!next.has(key)) next.set(key, []);
    next.get(key).push(`${x2} ${y2}`);
  };
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      if (!inside(x, y)) continue;
      if (!inside(x, y - 1)) add(x, y, x + 1, y);
      if (!inside(x + 1, y)) add(x + 1, y, x + 1, y + 1);
      if (!inside(x, y + 1)) add(x + 1, y + 1, x, y + 1);
      if (!inside(x - 1, y)) add(x, y + 1, x, y);
    }
  }
  return next;
}

/** Outline as a path in cells of the raster; smoothed if the raster is fine. */
function buildOutline(raster, index) {
  const path = new Path2D();
  if (!raster.boxes[index]) return path;
  const isFine = Math.max(raster.width, raster.height) > 64;
  for (const loop of traceLoops(raster, index)) {
    if (isFine) addSmooth(path, loop);
    else loop.forEach(([x, y], k) => (k ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  return path;
}

function addSmooth(path, loop) {
  const half = ([x1, y1], [x2, y2]) => [(x1 + x2) / 2, (y1 + y2) / 2];
  path.moveTo(...half(loop[loop.length - 1], loop[0]));
  loop.forEach((corner, k) => path.quadraticCurveTo(...corner, ...half(corner, loop[(k + 1) % loop.length])));
}

/** Nearest part in the direction of an arrow key; parts straight ahead come before diagonal parts. */
function findNeighbour(middles, from, key) {
  const [dx, dy] = DIRECTIONS[key], start = middles[from];
  if (!start) return Math.max(0, middles.findIndex(Boolean)); // a part without cells has no neighbours
  let best = from, least = Infinity;
  middles.forEach((middle, index) => {
    if (!middle || index === from) return;
    const along = (middle.x - start.x) * dx + (middle.y - start.y) * dy;
    const aside = Math.abs((middle.x - start.x) * dy) + Math.abs((middle.y - start.y) * dx);
    const effort = along + 2 * aside + (aside > along ? 10 : 0);
    if (along > 1e-6 && effort < least) [best, least] = [index, effort];
  });
  return best;
}
