/**
 * Resampling of images as Pillow 13 does it (src/libImaging/Resample.c), to the same bytes: separable filters whose
 * weights are rounded to 22 bits.
 */

const PRECISION_BITS = 32 - 8 - 2;

/** @typedef {{support: number, weight: (x: number) => number}} Filter its support in pixels of the smaller image */

/** @type {Filter} */
export const LANCZOS = { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) };

/** @type {Filter} */
export const BILINEAR = { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) };

function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/**
 * Scale an image.
 *
 * @param {Uint8Array} rgb [height, width, 3]
 * @param {number} width pixels
 * @param {number} height pixels
 * @param {number} newWidth pixels, at least 1
 * @param {number} newHeight pixels, at least 1
 * @param {Filter} filter
 * @returns {Uint8Array} RGB, [newHeight, newWidth, 3]; the image itself if its size does not change
 */
export function resample(rgb, width, height, newWidth, newHeight, filter) {
  const isShorterFirst = height > newHeight && height - newHeight > 2 * (width - newWidth);
  let image = rgb;
  if (isShorterFirst) image = columns(image, width, height, newHeight, filter);
  if (newWidth !== width) {
    const lines = isShorterFirst ? newHeight : height;
    image = along(image, { filter, isRows: true, from: width, to: newWidth, lines });
  }
  if (!isShorterFirst && newHeight !== height) image = columns(image, newWidth, height, newHeight, filter);
  return image;
}

function columns(image, width, height, newHeight, filter) {
  return along(image, { filter, isRows: false, from: height, to: newHeight, lines: width });
}

/**
 * Scale each line of an image, its rows or its columns.
 *
 * @param {Uint8Array} image RGB
 * @param {{filter: Filter, isRows: boolean, from: number, to: number, lines: number}} how pixels of a line before and
 *   after, and number of lines
 * @returns {Uint8Array} RGB
 */
function along(image, { filter, isRows, from, to, lines }) {
  const { starts, counts, weights, most } = weightsOf(filter, from, to);
  const scaled = new Uint8Array(3 * to * lines);
  const [step, lineStep] = isRows ? [3, 3 * from] : [3 * lines, 3];
  const [newStep, newLineStep] = isRows ? [3, 3 * to] : [3 * lines, 3];
  for (let outer = 0; outer < (isRows ? lines : to); outer += 1) {
    for (let inner = 0; inner < (isRows ? to : lines); inner += 1) {
      const [line, at] = isRows ? [outer, inner] : [inner, outer];
      let [red, green, blue] = [HALF, HALF, HALF];
      let position = line * lineStep + starts[at] * step;
      const first = at * most;
      for (let index = first; index < first + counts[at]; index += 1) {
        const weight = weights[index];
        red += image[position] * weight;
        green += image[position + 1] * weight;
        blue += image[position + 2] * weight;
        position += step;
      }
      const target = line * newLineStep + at * newStep;
      scaled[target] = clipped(red);
      scaled[target + 1] = clipped(green);
      scaled[target + 2] = clipped(blue);
    }
  }
  return scaled;
}

const HALF = 1 << (PRECISION_BITS - 1);

function clipped(sum) {
  return Math.min(255, Math.max(0, sum >> PRECISION_BITS));
}

/** Weights of the pixels that each scaled pixel is made of: the first one, their number, and `most` weights a pixel. */
function weightsOf(filter, from, to) {
  const scale = from / to;
  const stretch = Math.max(1, scale);
  const support = filter.support * stretch;
  const most = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(to);
  const counts = new Int32Array(to);
  const weights = new Int32Array(to * most);
  const exact = new Float64Array(most);
  for (let at = 0; at < to; at += 1) {
    const center = (at + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - support + 0.5));
    const count = Math.min(from, Math.trunc(center + support + 0.5)) - start;
    let sum = 0;
    for (let index = 0; index < count; index += 1) {
      exact[index] = filter.weight((index + start - center + 0.5) * (1 / stretch));
      sum += exact[index];
    }
    for (let index = 0; index < count; index += 1) {
      const share = (sum === 0 ? exact[index] : exact[index] / sum) * 2 ** PRECISION_BITS;
      weights[at * most + index] = Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    }
    starts[at] = start;
    counts[at] = count;
  }
  return { starts, counts, weights, most };
}
