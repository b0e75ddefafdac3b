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
 * Convert RGB to pixels for a canvas.
 *
 * @param {Uint8Array} rgb [height, width, 3]
 * @param {number} width pixels
 * @param {number} height pixels
 * @returns {ImageData} opaque
 */
export function imageOf(rgb, width, height) {
  const { data } = new ImageData(width, height);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    data[to] = rgb[from];
    data[to + 1] = rgb[from + 1];
    data[to + 2] = rgb[from + 2];
    data[to + 3] = 255;
  }
  return new ImageData(data, width, height);
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
