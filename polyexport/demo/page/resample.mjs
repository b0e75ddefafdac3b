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
  const isShorterFirst = from.height > to.height && from.height - to.height > 2 * (from.width - to.width);
  const [width, height] = [Math.fround(part.width), Math.fround(part.height)];
  const rows = (values, lines) =>
    from.width === to.width && width === from.width
      ? values
      : alongRows(values, weightsOf(filter, from.width, width, to.width, values), from.width, lines, channels);
  const columns = (values, length) =>
    from.height === to.height && height === from.height
      ? values
      : alongColumns(values, weightsOf(filter, from.height, height, to.height, values), length * channels);
  return isShorterFirst ? rows(columns(image, from.width), to.height) : columns(rows(image, from.height), to.width);
}

function alongRows(image, { starts, counts, weights, most }, from, lines, channels) {
  const to = starts.length;
  const [isWhole, scaled] = [image instanceof Uint8Array, new image.constructor(to * lines * channels)];
  for (let line = 0; line < lines; line += 1) {
    for (let at = 0; at < to; at += 1) {
      const first = at * most;
      for (let channel = 0; channel < channels; channel += 1) {
        let sum = isWhole ? HALF : 0;
        let position = (line * from + starts[at]) * channels + channel;
        for (let index = first; index < first + counts[at]; index += 1) {
          sum += image[position] * weights[index];
          position += channels;
        }
        scaled[(line * to + at) * channels + channel] = isWhole ? clipped(sum) : sum;
      }
    }
  }
  return scaled;
}

function alongColumns(image, { starts, counts, weights, most }, length) {
  const to = starts.length;
  const [isWhole, scaled] = [image instanceof Uint8Array, new image.constructor(to * length)];
  for (let at = 0; at < to; at += 1) {
    const first = at * most;
    for (let column = 0; column < length; column += 1) {
      let sum = isWhole ? HALF : 0;
      let position = starts[at] * length + column;
      for (let index = first; index < first + counts[at]; index += 1) {
        sum += image[position] * weights[index];
        position += length;
      }
      scaled[at * length + column] = isWhole ? clipped(sum) : sum;
    }
  }
  return scaled;
}

const HALF = 1 << (PRECISION_BITS - 1);

function clipped(sum) {
  return Math.min(255, Math.max(0, sum >> PRECISION_BITS));
}

/** Weights of the pixels that each scaled pixel is made of: the first one, their number, and `most` weights a pixel. */
function weightsOf(filter, from, part, to, values) {
  const isWhole = values instanceof Uint8Array;
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
  return { starts, counts, weights, most };
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
  const length = columns * channels;
  const means = new Uint8Array(Math.ceil(height / side) * length);
  const sums = new Uint32Array(length);
  for (let top = 0; top < height; top += side) {
    const rows = Math.min(side, height - top);
    sums.fill(0);
    for (let row = top; row < top + rows; row += 1) addRow(sums, image, row * width * channels, width, side, channels);
    for (let at = 0; at < length; at += 1) {
      const count = rows * (at < length - channels ? side : width - (columns - 1) * side);
      const factor = Math.trunc(Math.fround(2 ** 24 / count));
      means[(top / side) * length + at] = Math.floor(((sums[at] + Math.floor(count / 2)) * factor) / 2 ** 24);
    }
  }
  return means;
}

function addRow(sums, image, start, width, side, channels) {
  let position = start;
  for (let column = 0, at = 0; column < width; column += side, at += channels) {
    const end = Math.min(width, column + side);
    for (let x = column; x < end; x += 1) {
      for (let channel = 0; channel < channels; channel += 1) {
        sums[at + channel] += image[position];
        position += 1;
      }
    }
  }
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
  const length = Math.ceil(width / side) * channels;
  const found = new Uint8Array(Math.ceil(height / side) * length).fill(isLargest ? 0 : 255);
  let position = 0;
  for (let row = 0; row < height; row += 1) {
    const start = Math.floor(row / side) * length;
    for (let column = 0, at = start; column < width; column += side, at += channels) {
      const end = Math.min(width, column + side);
      for (let x = column; x < end; x += 1) {
        for (let channel = 0; channel < channels; channel += 1) {
          const value = image[position];
          position += 1;
          if (isLargest ? value > found[at + channel] : value < found[at + channel]) found[at + channel] = value;
        }
      }
    }
  }
  return found;
}
