/**
 * Ink of a drawing: how much of every pixel strokes cover, measured against the paper around it, as in
 * polyexport/imaging/ink.py and polyexport/imaging/paper.py. Reasons and units of the constants stand there.
 */

import { blurred, largest, smallest } from "./neighbors.mjs";
import { BILINEAR, BOX, extremes, resample } from "./resample.mjs";

/** @typedef {import("./resample.mjs").Size} Size */

const MIN_CONTRAST = 28;
const NOISE_WIDTHS = 3.5;
const FAINT = 24;
const RINGING = 0.5;
const CONTRAST = 1.1;
export const WALL = 77; // coverage from which a pixel counts as ink
const EVEN = 0.87;
const EDGE_GAIN = 1.15;
const FEW = 0.2;
const SMOOTH = 0.75;
const BLURRED = 1.5;
const MAX_SOFTNESS = 6;
const DARK = 96;
const CELLS = 64;
const SAMPLES = 4;
const REACH = 9;

/**
 * @param {Uint8Array} pixels RGB, [height, width, 3]
 * @param {Size} size
 * @returns {boolean} whether a picture shows light lines on dark paper
 */
export function pageIsDark(pixels, { width, height }) {
  const edge = new Float64Array(256);
  const sampled = new Float64Array(256);
  const count = (into, row, column) => {
    const [red, green, blue] = pixels.subarray(3 * (row * width + column));
    into[(77 * red + 150 * green + 29 * blue) >> 8] += 1;
  };
  for (const row of [0, height - 1]) for (let column = 0; column < width; column += 1) count(edge, row, column);
  for (const column of [0, width - 1]) for (let row = 0; row < height; row += 1) count(edge, row, column);
  if (median(edge) >= DARK) return false;
  const [rows, columns] = [height, width].map((side) => Math.max(1, Math.floor(side / 128)));
  for (let row = 0; row < height; row += rows) {
    for (let column = 0; column < width; column += columns) count(sampled, row, column);
  }
  return median(sampled) < DARK;
}

function median(counts) {
  const total = sumOf(counts, 0, 256);
  const ranked = (rank) => {
    let below = 0;
    for (let level = 0; ; level += 1) {
      below += counts[level];
      if (below > rank) return level;
    }
  };
  return (ranked(Math.floor((total - 1) / 2)) + ranked(Math.floor(total / 2))) / 2;
}

/**
 * Measure the ink of a picture of dark lines on light paper.
 *
 * @param {Uint8Array} pixels RGB, [height, width, 3]
 * @param {Size} size
 * @returns {Uint8Array | null} share of each pixel that ink covers, 0 to 255, [height, width]; null for a blank page, or
 *   a page without paper
 */
export function findInk(pixels, size) {
  let level = new Uint8Array(pixels.length / 3);
  for (let index = 0, from = 0; index < level.length; index += 1, from += 3) {
    const darker = pixels[from] < pixels[from + 1] ? pixels[from] : pixels[from + 1];
    level[index] = darker < pixels[from + 2] ? darker : pixels[from + 2];
  }
  let counts = countsOf(level);
  const light = sumOf(counts, 192, 256);
  const isFlat = 2 * counts[255] >= light && light > 0;
  if (!isFlat) {
    level = flattened(pixels, size);
    counts = countsOf(level);
  }
  const split = otsu(counts);
  if (split === null) return null;
  const ink = marked(level, (value) => value < split);
  const core = smallest(ink, size, 1);
  const tones = new Float64Array(256);
  for (let index = 0; index < core.length; index += 1) tones[level[index]] += core[index];
  const paper = isFlat ? 255 : quantile(counts.subarray(split), 0.5) + split;
  const isSolid = 10 * sumOf(tones, 0, 256) >= sumOf(counts, 0, split);
  const [dark, isEven] = isSolid ? solidLevel(tones) : [quantile(counts.subarray(0, split), 0.02), true];
  const isNoisy = !isFlat || rings(counts, dark);
  let coverage;
  if (isEven) {
    const softness = isSolid ? softnessOf(level, ink, size, paper, dark) : 1;
    const table = ramp(paper, dark, Math.max(softness, isNoisy ? CONTRAST : 1), isNoisy);
    coverage = new Uint8Array(level.length);
    for (let index = 0; index < level.length; index += 1) coverage[index] = table[level[index]];
  } else {
    coverage = uneven(level, size, paper, dark, core);
  }
  if (isNoisy) {
    const near = largest(
      marked(coverage, (value) => value >= WALL),
      size,
      1,
    );
    for (let index = 0; index < coverage.length; index += 1) coverage[index] *= near[index];
  }
  return coverage;
}

function countsOf(level) {
  const counts = new Float64Array(256);
  for (let index = 0; index < level.length; index += 1) counts[level[index]] += 1;
  return counts;
}

/** A plane that is 1 where a level has a property, else 0. */
function marked(plane, has) {
  const table = Uint8Array.from({ length: 256 }, (_, level) => (has(level) ? 1 : 0));
  const found = new Uint8Array(plane.length);
  for (let index = 0; index < plane.length; index += 1) found[index] = table[plane[index]];
  return found;
}

function sumOf(values, from, to) {
  let sum = 0;
  for (let index = from; index < to; index += 1) sum += values[index];
  return sum;
}

/** The level that separates ink, under it, from paper, by Otsu's method; null if there is no contrast. */
function otsu(counts) {
  const total = sumOf(counts, 0, 256);
  const whole = counts.reduce((sum, count, level) => sum + count * level, 0);
  let best = null;
  let [below, sum] = [0, 0];
  for (let level = 0; level < 256; level += 1) {
    below += counts[level];
    sum += counts[level] * level;
    const above = total - below;
    if (below === 0 || above === 0) continue;
    const [under, over] = [sum / below, (whole - sum) / above];
    const between = below * above * (under - over) ** 2;
    if (best === null || between > best.between) best = { level, between, under, over };
  }
  if (best === null) return null;
  let [spread, light] = [0, 0];
  for (let level = best.level + 1; level < 256; level += 1) {
    spread += counts[level] * (level - best.over) ** 2;
    light += counts[level];
  }
  const contrast = best.over - best.under;
  return contrast < MIN_CONTRAST || contrast < NOISE_WIDTHS * Math.sqrt(spread / light) ? null : best.level + 1;
}

function quantile(counts, share) {
  const wanted = share * sumOf(counts, 0, counts.length);
  let below = 0;
  for (let index = 0; index < counts.length; index += 1) {
    below += counts[index];
    if (below >= wanted) return index;
  }
  return counts.length;
}

function solidLevel(tones) {
  const [darkest, middle] = [quantile(tones, 0.1), quantile(tones, 0.6)];
  return [quantile(tones, 0.5), 255 - middle >= EVEN * (255 - darkest)];
}

/** Width of the edges of solid ink, pixels: 1 for smooth and for hard edges, more in a blurred picture. */
function rings(counts, dark) {
  const contrast = 255 - dark;
  const pale = sumOf(counts, 255 - Math.max(1, Math.floor((14 * contrast + 255) / 510)), 255);
  const halves = sumOf(counts, 255 - Math.floor((3 * contrast) / 4), 255 - Math.floor(contrast / 4));
  return pale > RINGING * halves + 16;
}

function softnessOf(level, ink, { width }, paper, dark) {
  const [pale, deep] = [0.15, 0.85].map((share) => roundHalfToEven(paper + (dark - paper) * share));
  let [soft, edges] = [0, 0];
  for (let index = 0, column = 0; index < level.length; index += 1) {
    if (level[index] > deep && level[index] < pale) soft += 1;
    if (index >= width && ink[index] !== ink[index - width]) edges += 1;
    if (column > 0 && ink[index] !== ink[index - 1]) edges += 1;
    column = column === width - 1 ? 0 : column + 1;
  }
  const found = soft / (SMOOTH * Math.max(edges, 1));
  return found > BLURRED ? Math.min(found, MAX_SOFTNESS) : 1;
}

/** Round to the nearest whole number, and exactly between two of them to the even one, as Python does. */
export function roundHalfToEven(value) {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}

function ramp(paper, dark, gain, isNoisy) {
  return Uint8Array.from({ length: 256 }, (_, level) => {
    const covered = ((paper - level) * (255 / Math.max(paper - dark, 1)) - 127.5) * gain + 127.5;
    return isNoisy && covered < FAINT ? 0 : Math.floor(Math.min(255, Math.max(0, covered)) + 0.5);
  });
}

/** Coverage of ink whose darkness varies, such as pencil: measured against the ink inside the stroke. */
function uneven(level, size, paper, middle, core) {
  const drop = new Int16Array(level.length);
  const inner = new Int16Array(level.length);
  for (let index = 0; index < level.length; index += 1) {
    drop[index] = Math.max(paper - level[index], 0);
    inner[index] = drop[index] * core[index];
  }
  const darkness = sums(inner, size);
  const weight = sums(Int16Array.from(core), size);
  const more = Math.fround(FEW * (paper - middle));
  const few = Math.fround(FEW);
  const gain = Math.fround(255 * EDGE_GAIN);
  const coverage = new Uint8Array(level.length);
  for (let index = 0; index < level.length; index += 1) {
    const share = Math.fround(Math.fround(weight[index] + few) / Math.fround(darkness[index] + more));
    const ratio = Math.fround(Math.fround(drop[index] * share) * gain);
    if (ratio >= FAINT) coverage[index] = Math.floor(Math.fround(Math.min(ratio, 255) + 0.5));
  }
  return coverage;
}

/** Sums of the 3x3 pixels around each pixel. */
function sums(plane, { width, height }) {
  const rows = plane.slice();
  for (let index = 0; index < plane.length - width; index += 1) {
    rows[index] += plane[index + width];
    rows[index + width] += plane[index];
  }
  const found = rows.slice();
  for (let row = 0; row < height; row += 1) {
    for (let index = row * width; index < row * width + width - 1; index += 1) {
      found[index] += rows[index + 1];
      found[index + 1] += rows[index];
    }
  }
  return found;
}

/** The picture in gray, as if its paper were evenly white: 255 is the paper's local level or lighter. */
function flattened(pixels, size) {
  const longer = Math.max(size.width, size.height);
  const [width, height] = [size.width, size.height].map((side) => {
    const cells = Math.min(roundHalfToEven((CELLS * side) / longer), Math.floor(side / SAMPLES));
    return Math.min(side, SAMPLES * Math.max(1, cells));
  });
  const samples = resample(pixels, size, { width, height }, BOX, { channels: 3 });
  const grid = { width: Math.ceil(width / SAMPLES), height: Math.ceil(height / SAMPLES) };
  const lightest = extremes(samples, { width, height }, SAMPLES, 3, { isLargest: true });
  let levels = new Float32Array(lightest.length);
  for (let channel = 0; channel < 3; channel += 1) {
    const plane = Uint8Array.from({ length: lightest.length / 3 }, (_, index) => lightest[3 * index + channel]);
    const radius = (REACH - 1) / 2;
    smallest(largest(plane, grid, radius), grid, radius).forEach((value, index) => {
      levels[3 * index + channel] = value;
    });
  }
  for (let time = 0; time < 2; time += 1) levels = blurred(levels, grid, 1, 3);
  const drops = [0, 1, 2].map((channel) => Math.max(meanOf(levels, channel, Math.fround) - meanOf(samples, channel), 0.25));
  const total = drops[0] + drops[1] + drops[2];
  const [red, green, blue] = drops.map((drop) => Math.fround(drop / total));
  const weighted = (first, second, third) =>
    Math.fround(Math.fround(Math.fround(red * first) + Math.fround(green * second)) + Math.fround(blue * third));
  const gain = new Float32Array(levels.length / 3);
  for (let index = 0, at = 0; index < gain.length; index += 1, at += 3) {
    gain[index] = 255 / Math.max(weighted(levels[at], levels[at + 1], levels[at + 2]), 1);
  }
  const gains = resample(gain, grid, size, BILINEAR);
  const even = new Uint8Array(gains.length);
  for (let index = 0, at = 0; index < even.length; index += 1, at += 3) {
    const gray = Math.min(255, Math.trunc(Math.fround(weighted(pixels[at], pixels[at + 1], pixels[at + 2]) + 0.5)));
    even[index] = Math.min(Math.fround(Math.fround(gray * gains[index]) + 0.5), 255);
  }
  return even;
}

function meanOf(values, channel, rounded = (value) => value) {
  let sum = 0;
  for (let index = channel; index < values.length; index += 3) sum = rounded(sum + values[index]);
  return rounded(sum / (values.length / 3));
}
