/**
 * Exact edges for a fill, as in polyexport/imaging/fill.py: a coarse coverage decides what is filled, the ink of the full
 * picture places the edge. Reasons and units of the constants stand there.
 */

import { roundHalfToEven, WALL } from "./ink.mjs";
import { blurred, labeled, largest, smallest } from "./neighbors.mjs";
import { BILINEAR, resample } from "./resample.mjs";

/** @typedef {import("./resample.mjs").Size} Size */
/** @typedef {{ink: Uint8Array, size: Size, labels: Int32Array, count: number, open: Int32Array}} Regions */

const CLOSED_VOTE = 0.35;
const FULL = 0.5;
const AROUND = 0.9;
const MIN_WEIGHT = 0.5;
const NEAR_INK = Math.fround(0.05);
const MIN_PATCH = 3;
const THIN = 1.25;
const OPEN = 0.8;
const POCKET = 0.5;
const LITTLE = 0.1;
const STRAY = 0.15;
const CLEAR = Math.fround(0.6);
const BELIEF = 0.25;
const TRACE = Math.fround(0.02); // coverage by ink from which a cell can be doubted
const WHOLE_PAGE = 0.98;

const fround = Math.fround;

/**
 * Find the regions of paper between the ink of a picture.
 *
 * @param {Uint8Array} ink share of each pixel that ink covers, [height, width]
 * @param {Size} size
 * @returns {Regions} labels of the regions, 0 for ink, and how many pixels of each lie on the page's edge
 */
export function findRegions(ink, size) {
  const paper = new Uint8Array(ink.length);
  for (let index = 0; index < ink.length; index += 1) paper[index] = ink[index] < WALL ? 1 : 0;
  const { labels, count } = labeled(paper, size);
  const open = new Int32Array(count + 1);
  const { width, height } = size;
  for (let column = 0; column < width; column += 1) {
    open[labels[column]] += 1;
    open[labels[(height - 1) * width + column]] += 1;
  }
  for (let row = 0; row < height; row += 1) {
    open[labels[row * width]] += 1;
    open[labels[row * width + width - 1]] += 1;
  }
  return { ink, size, labels, count, open };
}

/**
 * Compute the exact coverage of a fill.
 *
 * @param {Regions} regions of the full picture
 * @param {Float32Array} coarse coverage of the fill, 0 to 1, of the whole picture at a size up to its own
 * @param {Float32Array} coarseInk coverage of the ink at the same size
 * @param {Size} coarseSize
 * @returns {Uint8Array} [height, width]: 0 is paper, 255 is the full color
 */
export function fillCoverage(regions, coarse, coarseInk, coarseSize) {
  const { size, labels } = regions;
  const grid = {
    width: Math.min(size.width, 2 * coarseSize.width),
    height: Math.min(size.height, 2 * coarseSize.height),
  };
  const cells = sampled(labels, size, grid);
  const enlarged = (plane) => resample(plane, coarseSize, grid, BILINEAR);
  const seen = coarseInk.map((covered) => 1 - covered);
  const inside = enlarged(coarse.map((value, index) => Math.min(Math.max(fround(value - coarseInk[index]), 0), seen[index])));
  const visible = enlarged(seen);
  const believed = enlarged(coarse);
  const scale = grid.height / coarseSize.height; // cells of the grid for one of the coarse coverage
  const { filled, seams, voted } = decide(regions, cells, inside, visible, scale * scale);
  const radius = roundHalfToEven(scale);
  const isEmpty = (label) => voted[label] === 1 && filled[label] === 0 && regions.open[label] === 0;
  if (filled.some((_, label) => isEmpty(label))) {
    const full = Uint8Array.from(believed, (value) => (value >= FULL ? 1 : 0));
    const isSurrounded = surrounded(cells, largest(full, grid, radius), grid, regions.count);
    for (let label = 1; label <= regions.count; label += 1) {
      if (isEmpty(label) && isSurrounded[label] === 1) filled[label] = 1;
    }
  }
  const values = filled.map((isFilled) => 255 * isFilled);
  const cellValues = valuesOf(
    cells,
    values.map((value, label) => value * voted[label]),
  );
  values[0] = 255;
  const plane = valuesOf(labels, values);
  if (seams.includes(1)) {
    const mixed = valuesOf(cells, seams);
    const share = seam(mixed, inside, visible, grid, scale);
    const factor = fround(255 * Math.max(1.5, size.height / coarseSize.height));
    const steep = share.map((value) => fround(value - 0.5) * factor);
    const fine = resample(steep, grid, size, BILINEAR);
    for (let index = 0; index < plane.length; index += 1) {
      if (seams[labels[index]] === 1) plane[index] = Math.min(255, Math.max(0, fround(fine[index] + 128)));
    }
    for (let index = 0; index < mixed.length; index += 1) {
      if (mixed[index] === 1) cellValues[index] = share[index] > 0.5 ? 255 : 0;
    }
  }
  const result = edged(plane, regions);
  const doubts = doubted(cellValues, cells, believed, enlarged(coarseInk), grid, radius);
  if (doubts !== null) erase(result, size, doubts, grid);
  let colored = 0;
  for (let index = 0; index < result.length; index += 1) colored += result[index] > 127;
  if (colored > WHOLE_PAGE * result.length) result.fill(0);
  return result;
}

/** The value of each pixel's label. */
function valuesOf(labels, values) {
  const plane = new Uint8Array(labels.length);
  for (let index = 0; index < labels.length; index += 1) plane[index] = values[labels[index]];
  return plane;
}

/** The pixels in the middle of the cells of a grid. */
function sampled(plane, { width, height }, grid) {
  if (grid.width === width && grid.height === height) return plane;
  const cells = new Int32Array(grid.width * grid.height);
  for (let row = 0; row < grid.height; row += 1) {
    const y = Math.floor(((2 * row + 1) * height) / (2 * grid.height));
    for (let column = 0; column < grid.width; column += 1) {
      const x = Math.floor(((2 * column + 1) * width) / (2 * grid.width));
      cells[row * grid.width + column] = plane[y * width + x];
    }
  }
  return cells;
}

/** Which regions are filled, which have a seam in them, and which are large enough for a vote: 1 or 0 each. */
function decide({ count, open }, cells, inside, visible, cellArea) {
  const [weight, votes, yes, no] = [0, 1, 2, 3].map(() => new Float64Array(count + 1));
  for (let index = 0; index < cells.length; index += 1) {
    const label = cells[index];
    weight[label] += visible[index];
    votes[label] += inside[index];
    if (visible[index] <= CLEAR) continue; // cells that ink hides have no say about a seam
    if (inside[index] > fround(0.5 * visible[index])) yes[label] += 1;
    else no[label] += 1;
  }
  const [filled, seams, voted] = [0, 1, 2].map(() => new Uint8Array(count + 1));
  for (let label = 1; label <= count; label += 1) {
    const isOpen = open[label] > 0;
    const share = votes[label] / Math.max(weight[label], 1e-6);
    voted[label] = weight[label] >= MIN_WEIGHT ? 1 : 0;
    filled[label] = share >= (isOpen ? 0.5 : CLOSED_VOTE) || (voted[label] === 0 && !isOpen) ? 1 : 0;
    seams[label] = isOpen && Math.min(yes[label], no[label]) >= MIN_PATCH * cellArea ? 1 : 0;
  }
  leaveAPage(open, filled, seams);
  return { filled, seams, voted };
}

/** Empty the widest region on the page's edge if the whole page would be filled. */
function leaveAPage(open, filled, seams) {
  let [widest, total] = [0, open[0]];
  for (let label = 1; label < open.length; label += 1) {
    if (open[label] > 0 && filled[label] === 0) return;
    if (open[label] > (widest === 0 ? 0 : open[widest])) widest = label;
    total += open[label];
  }
  if (widest > 0 && !seams.includes(1) && 2 * open[widest] > total) filled[widest] = 0;
}

/** Which regions the drawing's ink surrounds, 1 or 0 each; `full` is 1 where the fill or the ink is, or a cell away. */
function surrounded(cells, full, { width, height }, count) {
  const [outline, drawn] = [0, 1].map(() => new Float64Array(count + 1));
  for (let index = 0; index < cells.length; index += 1) {
    const label = cells[index];
    const column = index % width;
    let edges = 0;
    if (index >= width && cells[index - width] !== label) edges += 1;
    if (index < width * (height - 1) && cells[index + width] !== label) edges += 1;
    if (column > 0 && cells[index - 1] !== label) edges += 1;
    if (column < width - 1 && cells[index + 1] !== label) edges += 1;
    outline[label] += edges;
    drawn[label] += edges * full[index];
  }
  return outline.map((length, label) => (drawn[label] >= AROUND * Math.max(length, 1) ? 1 : 0));
}

/** The share of the fill in the regions that hold both, without the parts that can only be mistakes. */
function seam(mixed, inside, visible, grid, scale) {
  const radius = roundHalfToEven(scale);
  const [nearInside, nearVisible] = [inside, visible].map((plane) => blurred(plane, grid, radius));
  const near = (plane, blur, index) => fround(plane[index] + fround(NEAR_INK * blur[index]));
  let share = inside.map((_, index) => {
    return near(inside, nearInside, index) / fround(near(visible, nearVisible, index) + fround(1e-6));
  });
  const paper = mixed.map((isMixed, index) => (isMixed === 1 && visible[index] > CLEAR ? 1 : 0));
  for (const value of [1, 0]) {
    const mine = paper.map((isPaper, index) => (isPaper === 1 && Number(share[index] > 0.5) === value ? 1 : 0));
    const wrong = mistakes(mine, paper, grid, scale, value);
    if (!wrong.includes(1)) continue;
    const patch = largest(wrong, grid, radius);
    share = share.map((old, index) =>
      patch[index] === 1 && !(mine[index] === 1 && wrong[index] === 0) ? 1 - value : old,
    );
  }
  const filled = mixed.map((_, index) => (share[index] > 0.5 ? 1 : 0));
  const [most, least] = [largest(filled, grid, radius), smallest(filled, grid, radius)];
  return share.map((value, index) => (most[index] === least[index] ? filled[index] : value));
}

/** The cells of the parts that can only be mistakes, 1 or 0 each; `value` is 1 for filled parts, 0 for empty ones. */
function mistakes(mine, paper, grid, scale, value) {
  const { width, height } = grid;
  const { labels, count } = labeled(mine, grid);
  const [area, open, inked, atEdge] = [0, 1, 2, 3].map(() => new Float64Array(count + 1));
  const look = (label, there) => {
    if (mine[there] === 1) return;
    if (paper[there] === 1) open[label] += 1;
    else inked[label] += 1;
  };
  for (let index = 0; index < labels.length; index += 1) {
    const label = labels[index];
    if (label === 0) continue;
    const column = index % width;
    area[label] += 1;
    if (index >= width) look(label, index - width);
    else atEdge[label] = 1;
    if (index < width * (height - 1)) look(label, index + width);
    else atEdge[label] = 1;
    if (column > 0) look(label, index - 1);
    else atEdge[label] = 1;
    if (column < width - 1) look(label, index + 1);
    else atEdge[label] = 1;
  }
  const wrong = new Uint8Array(count + 1);
  const filled = paper.reduce((total, isPaper, index) => total + (isPaper & (1 - mine[index])), 0);
  for (let label = 1; label <= count; label += 1) {
    const [length, size] = [open[label] / scale, area[label] / scale ** 2];
    let isWrong = size < THIN * length || size < MIN_PATCH;
    if (value === 1) isWrong ||= open[label] > OPEN * (open[label] + inked[label]);
    else {
      const isBay = size < POCKET * length ** 2;
      isWrong = atEdge[label] === 1 ? isBay && area[label] < LITTLE * filled : isWrong || isBay;
    }
    wrong[label] = isWrong && open[label] > 0 ? 1 : 0;
  }
  return valuesOf(labels, wrong);
}

/** Draw the exact edge of the ink towards paper that stays white; `plane` is 255 under ink. */
function edged(plane, { ink, size: { width, height } }) {
  const result = new Uint8Array(plane.length);
  for (let index = 0; index < plane.length; index += 1) result[index] = Math.max(plane[index], ink[index]);
  for (let row = 0, index = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1, index += 1) {
      if (ink[index] < WALL) continue;
      let away = 0;
      let toward = 0;
      let awayCorner = 0;
      let towardCorner = 0;
      for (let y = Math.max(0, row - 1); y <= Math.min(height - 1, row + 1); y += 1) {
        for (let x = Math.max(0, column - 1); x <= Math.min(width - 1, column + 1); x += 1) {
          const there = y * width + x;
          if (ink[there] >= WALL) continue;
          const clear = WALL - ink[there];
          const empty = Math.min(clear, 255 - plane[there]);
          const full = Math.min(clear, plane[there]);
          if (y === row || x === column) {
            away = Math.max(away, empty);
            toward = Math.max(toward, full);
          }
          awayCorner = Math.max(awayCorner, empty);
          towardCorner = Math.max(towardCorner, full);
        }
      }
      if (awayCorner === 0) continue;
      away = Math.max(away, (awayCorner >> 3) | 1) ** 2;
      toward = Math.max(toward, towardCorner === 0 ? 0 : (towardCorner >> 3) | 1) ** 2;
      const part = fround(fround(255 - ink[index]) * fround(toward / (toward + away)));
      result[index] = Math.floor(fround(fround(ink[index] + part) + 0.5));
    }
  }
  return result;
}

/** The cells whose ink is no part of the drawing; null if there are none. */
function doubted(values, cells, coarse, coarseInk, grid, radius) {
  const trusted = values.map((value, index) => (coarse[index] >= BELIEF || value > 127 ? 1 : 0));
  const believed = largest(trusted, grid, radius);
  const inked = believed.map((_, index) => (coarseInk[index] > TRACE || cells[index] === 0 ? 1 : 0));
  const doubts = believed.map((isBelieved, index) => inked[index] & (1 - isBelieved));
  if (!doubts.includes(1)) return null;
  const { labels, count } = labeled(inked, grid);
  const [area, left] = [0, 1].map(() => new Float64Array(count + 1));
  for (let index = 0; index < labels.length; index += 1) {
    area[labels[index]] += 1;
    left[labels[index]] += doubts[index];
  }
  for (let index = 0; index < labels.length; index += 1) {
    if (left[labels[index]] <= STRAY * area[labels[index]]) doubts[index] = 0;
  }
  if (!doubts.includes(1)) return null;
  return largest(doubts, grid, radius).map((isDoubted, index) => isDoubted & (1 - believed[index]));
}

/** Set the pixels of cells to 0. */
function erase(plane, { width, height }, cells, grid) {
  const nearest = (side, count) => {
    const step = count / side;
    let at = step * 0.5;
    return Int32Array.from({ length: side }, () => {
      const found = Math.trunc(at);
      at += step;
      return found;
    });
  };
  const [rows, columns] = [nearest(height, grid.height), nearest(width, grid.width)];
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      if (cells[rows[row] * grid.width + columns[column]] > 0) plane[row * width + column] = 0;
    }
  }
}
