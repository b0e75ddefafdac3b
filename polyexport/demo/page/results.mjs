/** The result of a model: how the page shows it, and what Download saves. */

import { imageOf, toChannels } from "./pixels.mjs";

/** @typedef {{pixels: Uint8Array, width: number, height: number, channels: number}} Picture [height, width, channels] */

/** Ways to show a mask, the first one at first. */
export const MASK_VIEWS = ["Over the image", "Mask", "Cut out"];

const STAIN = [229, 57, 53]; // sRGB of a mask over its image
const STRENGTH = 0.6;

/**
 * Prepare a result for a canvas.
 *
 * @param {Picture} result
 * @param {string} kind of the result, as the contract has it
 * @param {string} view one of MASK_VIEWS, for a mask
 * @param {Picture} image the image itself, RGB
 * @returns {ImageData}
 */
export function shown(result, kind, view, image) {
  const { pixels, width, height, channels } = result;
  if (kind === "labels" && channels === 1) return imageOf(labelColors(pixels), width, height, 3);
  if (kind !== "mask" || view === "Mask" || !isSameSize(result, image)) return imageOf(pixels, width, height, channels);
  if (view === "Cut out") return imageOf(cutOut(result, image), width, height, 4);
  const stained = image.pixels.map((value, index) => {
    const share = (STRENGTH * pixels[Math.floor(index / 3)]) / 255;
    return value + share * (STAIN[index % 3] - value);
  });
  return imageOf(stained, width, height, 3);
}

/**
 * Return what Download saves: the result, or the image with the mask as its alpha.
 *
 * @param {Picture} result
 * @param {string} kind of the result, as the contract has it
 * @param {string} view one of MASK_VIEWS, for a mask
 * @param {Picture} image the image itself, RGB
 * @returns {Picture}
 */
export function saved(result, kind, view, image) {
  const isCutOut = kind === "mask" && view === "Cut out" && isSameSize(result, image);
  return isCutOut ? { ...result, pixels: cutOut(result, image), channels: 4 } : result;
}

function isSameSize(result, image) {
  return result.width === image.width && result.height === image.height;
}

function cutOut(mask, image) {
  const pixels = toChannels(image.pixels, 3, 4);
  mask.pixels.forEach((alpha, index) => (pixels[4 * index + 3] = alpha));
  return pixels;
}

/** Give each label a color of its own; label 0 is black. */
function labelColors(labels) {
  const colors = Array.from({ length: 256 }, (_, label) => {
    const turn = (label * 137.508) / 60; // the golden angle, in sixths of a turn
    const channel = (shift) => Math.abs(((turn + shift) % 6) - 3) - 1;
    return label === 0 ? [0, 0, 0] : [0, 4, 2].map((shift) => 255 * Math.min(1, Math.max(0, channel(shift))));
  });
  const pixels = new Uint8Array(3 * labels.length);
  labels.forEach((label, index) => pixels.set(colors[label], 3 * index));
  return pixels;
}
