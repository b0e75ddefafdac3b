/** Pixels of images: conversion between the network's RGB and a canvas's RGBA. */

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
 * Convert pixels to another number of channels, as polyexport/imaging/pixels.py does.
 *
 * @param {Uint8Array} pixels [height, width, from]
 * @param {number} from 1 for gray, 3 for RGB, 4 for RGBA
 * @param {number} to 1 for luma (BT.601), 3 for RGB, 4 for RGBA, opaque if there was no alpha
 * @returns {Uint8Array} [height, width, to]; the same array if it has these channels
 */
export function toChannels(pixels, from, to) {
  if (from === to) return pixels;
  const count = pixels.length / from;
  const changed = new Uint8Array(count * to).fill(255);
  for (let index = 0; index < count; index += 1) {
    const start = index * from;
    const [red, green, blue] = [0, 1, 2].map((channel) => pixels[start + (from === 1 ? 0 : channel)]);
    if (to === 1) {
      changed[index] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    } else {
      changed[index * to] = red;
      changed[index * to + 1] = green;
      changed[index * to + 2] = blue;
    }
  }
  return changed;
}

/**
 * Convert pixels to those of a canvas.
 *
 * @param {Uint8Array} pixels [height, width, channels]
 * @param {number} width pixels
 * @param {number} height pixels
 * @param {number} channels 1 for gray, 3 for RGB, 4 for RGBA
 * @returns {ImageData}
 */
export function imageOf(pixels, width, height, channels = 3) {
  return new ImageData(new Uint8ClampedArray(toChannels(pixels, channels, 4)), width, height);
}

/**
 * Compute how much of a filled drawing has the fill's color.
 *
 * @param {Uint8Array} rgb a drawing in this color on white, RGB
 * @param {[number, number, number]} color 0 to 255
 * @returns {number} share of its area, 0 to 1; NaN for white, which leaves no trace
 */
export function shareOf(rgb, color) {
  const full = color.reduce((sum, value) => sum + 255 - value, 0);
  let sum = 0;
  for (let index = 0; index < rgb.length; index += 1) sum += 255 - rgb[index];
  return Math.min(1, sum / (full * (rgb.length / 3)));
}

/** Options of every 2D context of the page: opaque, and often read. */
export const CONTEXT = { alpha: false, willReadFrequently: true };
