/** Conversion between RGB, which the network takes, and RGBA, which a canvas takes. */

/**
 * Convert the pixels of a canvas to RGB.
 *
 * @param {ImageData} image opaque
 * @returns {Uint8Array} RGB, [height, width, 3]
 */
export function rgbOf({ data }) {
  const rgb = new Uint8Array((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    rgb[to] = data[from];
    rgb[to + 1] = data[from + 1];
    rgb[to + 2] = data[from + 2];
  }
  return rgb;
}

/**
 * Convert RGB to pixels for a canvas.
 *
 * @param {Uint8Array} rgb [size, size, 3]
 * @param {number} size height and width, pixels
 * @returns {ImageData} opaque
 */
export function imageOf(rgb, size) {
  const image = new ImageData(size, size);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    image.data[to] = rgb[from];
    image.data[to + 1] = rgb[from + 1];
    image.data[to + 2] = rgb[from + 2];
    image.data[to + 3] = 255;
  }
  return image;
}

/** Options of every 2D context of the page: opaque, and often read. */
export const CONTEXT = { alpha: false, willReadFrequently: true };
