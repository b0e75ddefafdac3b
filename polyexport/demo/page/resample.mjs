/**
 * Scaling of images as Pillow 13 does it (src/libImaging/Resample.c and Reduce.c), to the same bytes: separable filters,
 * whose weights are rounded to 22 bits for whole numbers.
 */

const PRECISION_BITS = 32 - 8 - 2;

/** @typedef {{support: number, weight: (x: number) => number}} Filter its support in pixels of the smaller image */
/** @typedef {{width: number, height: number}} Size pixels */
/** @typedef {Uint8Array | Float32Array} Values of an image, [height, width, channels]; Float32Array has one channel */

/** @type {Filter} */
export const LANCZOS = { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) };

/** @type {Filter} */
export const BILINEAR = { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) };

/** @type {Filter} */
export const BOX = { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) };

function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/**
 * Scale an image.
 *
 * @param {Values} image
 * @param {Size} from size of the image
 * @param {Size} to size of the result, at least 1 each
 * @param {Filter} filter
 * @param {{channels?: number, part?: Size}} options part of the image, from its upper left corner, that becomes the
 *   result; it may end between two pixels
 * @returns {Values} the image itself if nothing changes
 */
export function resample(image, from, to, filter, { channels = 1, part = from } = {}) {
  const isWhole = image instanceof Uint8Array;
  const isShorterFirst = from.height > to.height && from.height - to.height > 2 * (from.width - to.width);
  const [width, height] = [Math.fround(part.width), Math.fround(part.height)];
  const rows = (values, lines) =>
    from.width === to.width && width === from.width
      ? values
      : alongRows(values, weightsOf(filter, from.width, width, to.width, isWhole), from.width, lines, channels);
  const columns = (values, length) =>
    from.height === to.height && height === from.height
      ? values
      : alongColumns(values, weightsOf(filter, from.height, height, to.height, isWhole), length * channels);
  // One kind of array for both kinds of values: a compiler of JavaScript makes such loops several times faster.
  const values = isWhole ? new Float32Array(image) : image;
  const scaled = isShorterFirst
    ? rows(columns(values, from.width), to.height)
    : columns(rows(values, from.height), to.width);
  return isWhole ? new Uint8Array(scaled) : scaled;
}

/**
 * Scale an image without mixing its values, as Pillow's transformation of the nearest pixel does.
 *
 * @param {Uint8Array} image [height, width, channels]
 * @param {Size} from size of the image
 * @param {Size} to size of the result
 * @param {number} channels
 * @returns {Uint8Array}
 */
export function nearest(image, from, to, channels) {
  const columns = nearestOf(from.width, to.width);
  const scaled = new Uint8Array(to.width * to.height * channels);
  let target = 0;
  for (const row of nearestOf(from.height, to.height)) {
    for (const column of columns) {
      const start = (row * from.width + column) * channels;
      for (let channel = 0; channel < channels; channel += 1, target += 1) scaled[target] = image[start + channel];
    }
  }
  return scaled;
}

/** Place of the nearest pixel of each scaled one; the sum is Pillow's, which rounds otherwise than a product. */
function nearestOf(from, to) {
  const step = from / to;
  const places = new Int32Array(to);
  for (let at = 0, place = step * 0.5; at < to; at += 1, place += step) places[at] = Math.min(from - 1, Math.trunc(place));
  return places;
}

function alongRows(image, { starts, counts, weights, most, isWhole }, from, lines, channels) {
  const to = starts.length;
  const scaled = new Float32Array(to * lines * channels);
  const zero = isWhole ? HALF : 0;
  let target = 0;
  for (let line = 0; line < lines; line += 1) {
    for (let at = 0; at < to; at += 1) {
      const first = at * most;
      const end = first + counts[at];
      const start = (line * from + starts[at]) * channels;
      for (let channel = 0; channel < channels; channel += 1) {
        let sum = zero;
        for (let index = first, position = start + channel; index < end; index += 1, position += channels) {
          sum += image[position] * weights[index];
        }
        scaled[target] = isWhole ? clipped(sum) : sum;
        target += 1;
      }
    }
  }
  return scaled;
}

function alongColumns(image, { starts, counts, weights, most, isWhole }, length) {
  const to = starts.length;
  const scaled = new Float32Array(to * length);
  const sums = new Float64Array(length);
  for (let at = 0, target = 0; at < to; at += 1) {
    sums.fill(isWhole ? HALF : 0);
    for (let index = 0; index < counts[at]; index += 1) {
      const weight = weights[at * most + index];
      const start = (starts[at] + index) * length;
      for (let column = 0; column < length; column += 1) sums[column] += image[start + column] * weight;
    }
    for (let column = 0; column < length; column += 1, target += 1) {
      scaled[target] = isWhole ? clipped(sums[column]) : sums[column];
    }
  }
  return scaled;
}

const HALF = 1 << (PRECISION_BITS - 1);

function clipped(sum) {
  const value = sum >> PRECISION_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** Weights of the pixels that each scaled pixel is made of: the first one, their number, and `most` weights a pixel. */
function weightsOf(filter, from, part, to, isWhole) {
  const scale = part / to;
  const stretch = Math.max(1, scale);
  const support = filter.support * stretch;
  const most = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(to);
  const counts = new Int32Array(to);
  const weights = new Float64Array(to * most);
  for (let at = 0; at < to; at += 1) {
    const center = (at + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - support + 0.5));
    const count = Math.min(from, Math.trunc(center + support + 0.5)) - start;
    const own = weights.subarray(at * most, at * most + count);
    let sum = 0;
    for (let index = 0; index < count; index += 1) {
      own[index] = filter.weight((index + start - center + 0.5) * (1 / stretch));
      sum += own[index];
    }
    for (let index = 0; index < count; index += 1) {
      if (sum !== 0) own[index] /= sum;
      if (isWhole) own[index] = Math.trunc(own[index] * 2 ** PRECISION_BITS + (own[index] < 0 ? -0.5 : 0.5));
    }
    starts[at] = start;
    counts[at] = count;
  }
  return { starts, counts, weights, most, isWhole };
}

/**
 * Average the blocks of an image; the last ones of a row and a column may be narrower.
 *
 * @param {Uint8Array} image [height, width, channels]
 * @param {Size} size of the image
 * @param {number} side of a block, pixels
 * @param {number} channels
 * @returns {Uint8Array} [ceil(height / side), ceil(width / side), channels]
 */
export function averaged(image, { width, height }, side, channels) {
  const columns = Math.ceil(width / side);
  const means = new Uint8Array(Math.ceil(height / side) * columns * channels);
  const sums = new Uint32Array(width * channels); // of each column of a row of blocks
  for (let top = 0, target = 0; top < height; top += side) {
    const rows = Math.min(side, height - top);
    sums.fill(0);
    for (let row = top; row < top + rows; row += 1) {
      const start = row * sums.length;
      for (let index = 0; index < sums.length; index += 1) sums[index] += image[start + index];
    }
    for (let left = 0; left < width; left += side) {
      const count = rows * Math.min(side, width - left);
      const factor = Math.trunc(Math.fround(2 ** 24 / count));
      const end = Math.min(width, left + side) * channels;
      for (let channel = 0; channel < channels; channel += 1, target += 1) {
        let sum = count >> 1;
        for (let index = left * channels + channel; index < end; index += channels) sum += sums[index];
        means[target] = Math.floor((sum * factor) / 2 ** 24);
      }
    }
  }
  return means;
}

/**
 * Find the largest or the smallest value of every block of an image.
 *
 * @param {Uint8Array} image [height, width, channels]
 * @param {Size} size of the image
 * @param {number} side of a block, pixels
 * @param {number} channels
 * @param {{isLargest: boolean}} options
 * @returns {Uint8Array} [ceil(height / side), ceil(width / side), channels]
 */
export function extremes(image, { width, height }, side, channels, { isLargest }) {
  const found = new Uint8Array(Math.ceil(height / side) * Math.ceil(width / side) * channels);
  const best = new Uint8Array(width * channels); // of each column of a row of blocks
  const worst = isLargest ? 0 : 255;
  for (let top = 0, target = 0; top < height; top += side) {
    best.fill(worst);
    const end = Math.min(height, top + side) * best.length;
    for (let start = top * best.length; start < end; start += best.length) {
      for (let index = 0; index < best.length; index += 1) {
        const value = image[start + index];
        if (isLargest ? value > best[index] : value < best[index]) best[index] = value;
      }
    }
    for (let left = 0; left < width; left += side) {
      const last = Math.min(width, left + side) * channels;
      for (let channel = 0; channel < channels; channel += 1, target += 1) {
        let value = worst;
        for (let index = left * channels + channel; index < last; index += channels) {
          if (isLargest ? best[index] > value : best[index] < value) value = best[index];
        }
        found[target] = value;
      }
    }
  }
  return found;
}
