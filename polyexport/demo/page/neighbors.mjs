/** Neighbors of pixels, as in polyexport/imaging/neighbors.py and polyexport/imaging/fill.py. */

/** @typedef {import("./resample.mjs").Size} Size */

/**
 * @param {Uint8Array} plane [height, width]
 * @param {Size} size
 * @param {number} radius pixels
 * @returns {Uint8Array} the largest value in the square of side 2 * radius + 1 around each pixel
 */
export function largest(plane, { width, height }, radius) {
  return inSquare(plane, width, height, radius, true);
}

/**
 * @param {Uint8Array} plane [height, width]
 * @param {Size} size
 * @param {number} radius pixels
 * @returns {Uint8Array} the smallest value in the square of side 2 * radius + 1 around each pixel
 */
export function smallest(plane, { width, height }, radius) {
  return inSquare(plane, width, height, radius, false);
}

function inSquare(plane, width, height, radius, isLargest) {
  const along = plane.slice();
  for (let offset = 1; offset <= radius; offset += 1) {
    for (let row = 0; row < height; row += 1) {
      spread(plane, along, row * width, row * width + width - offset, offset, isLargest);
    }
  }
  const found = along.slice();
  for (let offset = 1; offset <= radius; offset += 1) {
    spread(along, found, 0, plane.length - offset * width, offset * width, isLargest);
  }
  return found;
}

/** Let each pair of values that are `apart` from each other take part in both results. */
function spread(source, found, from, to, apart, isLargest) {
  for (let here = from; here < to; here += 1) {
    const there = here + apart;
    const first = source[here];
    const second = source[there];
    if (isLargest ? second > found[here] : second < found[here]) found[here] = second;
    if (isLargest ? first > found[there] : first < found[there]) found[there] = first;
  }
}

/**
 * Label the parts of a plane that are connected through their sides, numbered by their first pixel in reading order.
 *
 * @param {Uint8Array} plane [height, width]
 * @param {Size} size
 * @returns {{labels: Int32Array, count: number}} 0 where the plane is 0, otherwise 1 to `count`
 */
export function labeled(plane, { width }) {
  const labels = new Int32Array(plane.length);
  const joined = new Int32Array(plane.length / 2 + 2); // each label that was given, and one that it is connected to
  const root = (label) => {
    let found = label;
    while (joined[found] !== found) found = joined[found] = joined[joined[found]];
    return found;
  };
  let given = 0;
  for (let index = 0, column = 0; index < plane.length; index += 1) {
    if (plane[index] !== 0) {
      const left = column > 0 ? labels[index - 1] : 0;
      const above = index >= width ? labels[index - width] : 0;
      if (left === 0 && above === 0) {
        given += 1;
        joined[given] = given;
        labels[index] = given;
      } else if (left === 0 || above === 0 || left === above) {
        labels[index] = left || above;
      } else {
        const first = root(left);
        const second = root(above);
        labels[index] = Math.min(first, second);
        joined[Math.max(first, second)] = labels[index];
      }
    }
    column = column === width - 1 ? 0 : column + 1;
  }
  // The smallest label of a part was given to its first pixel.
  const numbers = new Int32Array(given + 1);
  let count = 0;
  for (let label = 1; label <= given; label += 1) {
    const first = root(label);
    if (first === label) count += 1;
    numbers[label] = first === label ? count : numbers[first];
  }
  for (let index = 0; index < labels.length; index += 1) labels[index] = numbers[labels[index]];
  return { labels, count };
}

/**
 * Average the square around each value, whose edge goes on beyond the plane.
 *
 * @param {Float32Array} plane [height, width, channels]
 * @param {Size} size
 * @param {number} radius pixels
 * @param {number} channels
 * @returns {Float32Array} [height, width, channels]
 */
export function blurred(plane, { width, height }, radius, channels = 1) {
  const row = width * channels;
  const down = mean(plane, { lines: row, lineStep: 1, length: height, step: row, radius });
  for (let channel = 0; channel < channels; channel += 1) {
    const part = { lines: height, lineStep: row, length: width, step: channels, radius, first: channel };
    mean(down, part, down);
  }
  return down;
}

/** Average along lines with a running sum, as scipy's uniform_filter1d does, so that sums round in the same way. */
function mean(plane, { lines, lineStep, length, step, radius, first = 0 }, into = new Float32Array(plane.length)) {
  const size = 2 * radius + 1;
  const line = new Float64Array(length);
  const at = (index) => line[Math.min(length - 1, Math.max(0, index))];
  for (let number = 0; number < lines; number += 1) {
    const start = first + number * lineStep;
    for (let index = 0; index < length; index += 1) line[index] = plane[start + index * step];
    let sum = 0;
    for (let index = -radius; index <= radius; index += 1) sum += at(index);
    into[start] = sum / size;
    for (let index = 1; index < length; index += 1) {
      sum += at(index + radius) - at(index - radius - 1);
      into[start + index * step] = sum / size;
    }
  }
  return into;
}
