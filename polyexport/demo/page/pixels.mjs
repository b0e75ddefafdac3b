/** Pixels of images: conversion between the network's RGB and a canvas's RGBA, and the size of an image on the sheet. */

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

/**
 * Scale an image's size down to a square sheet, as `fit` of polyexport/model/canvas.py does; smaller images keep theirs.
 *
 * @param {number} width pixels
 * @param {number} height pixels
 * @param {number} size height and width of the sheet, pixels
 * @returns {[number, number]} width and height on the sheet, at least 1 pixel each
 */
export function fittedSize(width, height, size) {
  const scale = Math.min(1, size / Math.max(width, height));
  return [width, height].map((side) => Math.max(1, roundHalfToEven(side * scale)));
}

function roundHalfToEven(value) {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}

/** Options of every 2D context of the page: opaque, and often read. */
export const CONTEXT = { alpha: false, willReadFrequently: true };
