/** The canvas: how an image of any size is placed on the pixels that the network takes, as in polyexport/model/canvas.py. */

import { scaledSide } from "./contract.mjs";
import { InkEdges } from "./edges.mjs";
import { findInk, pageIsDark, roundHalfToEven } from "./ink.mjs";
import { Reduction } from "./reduction.mjs";
import { BILINEAR, LANCZOS, nearest, resample } from "./resample.mjs";
import { chosenTiles } from "./tiles.mjs";

/** @typedef {import("./resample.mjs").Size} Size */

/**
 * @typedef {object} CanvasRule How images become canvases; the names are those of polyexport/model/canvas.py.
 * @property {"fit" | "native"} mode
 * @property {number} size largest side of a canvas of `fit`, pixels
 * @property {number} width of every canvas where it is not `size`; 0 where it is
 * @property {number} multiple
 * @property {number} smallest
 * @property {boolean} fill
 * @property {boolean} square
 * @property {boolean} white whether pictures are padded with white
 * @property {number} channels
 * @property {import("./tiles.mjs").TileRule | null} tiles by which large canvases of `native` are cut
 */

const WHITE = 255;

/**
 * Make the rule that places images for a model, as `--size auto` does.
 *
 * @param {object} contract of the model
 * @returns {CanvasRule}
 */
export function canvasRule(contract) {
  const white = contract.contract_version === 2;
  const fill = contract.result.kind === "fill";
  const native = !white && !contract.fixed_size;
  return {
    mode: native ? "native" : "fit",
    size: contract.training_size,
    width: contract.fixed_size ? contract.training_width : 0,
    multiple: contract.size_multiple,
    smallest: contract.smallest_size,
    fill,
    square: contract.fixed_size || (white && !fill),
    white,
    channels: contract.image_channels,
    tiles: chosenTiles(contract, native),
  };
}

/** The rule for second pictures of a number of channels, such as masks, on the canvases of a rule. */
export function pictureRule(rule, channels) {
  return { ...rule, channels, fill: false };
}

/**
 * Scale a size down to a rectangle, as `fit` does; smaller ones stay.
 *
 * @param {number} width pixels
 * @param {number} height pixels
 * @param {number} size height of the rectangle, pixels
 * @param {number} across width of the rectangle, pixels
 * @returns {[number, number]} width and height in the rectangle, at least 1 pixel each
 */
export function fittedSize(width, height, size, across = size) {
  const scale = Math.min(1, size / height, across / width);
  return [width, height].map((side) => Math.max(1, roundHalfToEven(side * scale)));
}

/** An image on its canvas, at the upper left, and what is needed to give the output the size of the image. */
export class Canvas {
  /** @type {Uint8Array} [height, width, channels] */
  pixels;
  /** @type {number} pixels */
  width;
  /** @type {number} pixels */
  height;

  #imageSize;
  #inner;
  #edges = null; // for a model whose result is a fill

  /**
   * @param {Uint8Array} image [height, width, channels]
   * @param {Size} imageSize
   * @param {CanvasRule} rule
   */
  constructor(image, imageSize, rule) {
    const { width: across, size, channels, fill } = rule;
    const isFit = rule.mode === "fit";
    const [width, height] = isFit
      ? fittedSize(imageSize.width, imageSize.height, size, across || size)
      : [imageSize.width, imageSize.height];
    this.#imageSize = imageSize;
    this.#inner = { width, height };
    const padded = (side) => Math.ceil(Math.max(side, rule.smallest) / rule.multiple) * rule.multiple;
    const isSquare = isFit && rule.square;
    this.width = isSquare ? across || size : padded(width);
    this.height = isSquare ? size : padded(height);
    const scaled = fill ? this.#drawing(image) : scaledImage(image, imageSize, this.#inner, LANCZOS, channels);
    const isRepeated = fill || !rule.white;
    this.pixels = new Uint8Array(channels * this.width * this.height).fill(WHITE);
    for (let row = 0; row < (isRepeated ? this.height : height); row += 1) {
      const from = channels * Math.min(row, height - 1) * width;
      this.pixels.set(scaled.subarray(from, from + channels * width), channels * row * this.width);
      if (!isRepeated) continue;
      const end = channels * (row + 1) * this.width;
      for (let index = channels * (row * this.width + width); index < end; index += 1) {
        this.pixels[index] = this.pixels[index - channels];
      }
    }
  }

  /** Scale a drawing, as dark lines on light paper, and measure its ink. */
  #drawing(image) {
    const size = this.#imageSize;
    const dark = pageIsDark(image, size) ? image.map((value) => WHITE - value) : image;
    const ink = findInk(dark, size);
    const isSame = this.#inner.width === size.width && this.#inner.height === size.height;
    const reduction = isSame ? null : new Reduction(ink, size, this.#inner);
    this.#edges = new InkEdges(ink, size, reduction);
    return reduction === null ? dark : reduction.of(dark, 3);
  }

  /**
   * Give the network's output on this canvas the size of the image, times the scale of the result.
   *
   * @param {Uint8Array} output [height, width, channels] of the canvas, times the scale
   * @param {[number, number, number]} rgb color of a fill, sRGB, 0 to 255
   * @param {{kind: string, scale: string, channels: number}} result the contract's entries about it
   * @returns {{pixels: Uint8Array, width: number, height: number}} [height, width, channels]
   */
  restore(output, rgb, result) {
    const { channels } = result;
    const sized = ({ width, height }) => ({ width: scaledSide(width, result), height: scaledSide(height, result) });
    const from = sized(this.#inner);
    const stride = channels * scaledSide(this.width, result);
    const inner = new Uint8Array(channels * from.width * from.height);
    for (let row = 0; row < from.height; row += 1) {
      const start = row * stride;
      inner.set(output.subarray(start, start + channels * from.width), channels * row * from.width);
    }
    const to = sized(this.#imageSize);
    if (this.#edges !== null) return { pixels: this.#edges.draw(inner, this.#inner, rgb), ...to };
    const pixels =
      result.kind === "labels" ? nearest(inner, from, to, channels) : scaledImage(inner, from, to, BILINEAR, channels);
    return { pixels, ...to };
  }
}

/** Scale an image as Pillow does: colors count as much as they are opaque. */
function scaledImage(image, from, to, filter, channels) {
  if (from.width === to.width && from.height === to.height) return image;
  if (channels !== 4) return resample(image, from, to, filter, { channels });
  const weighted = image.slice();
  forEachColor(weighted, (value, alpha) => {
    const product = value * alpha + 128;
    return ((product >> 8) + product) >> 8;
  });
  const scaled = resample(weighted, from, to, filter, { channels });
  forEachColor(scaled, (value, alpha) =>
    alpha === 0 || alpha === 255 ? value : Math.min(255, Math.trunc((255 * value) / alpha)),
  );
  return scaled;
}

function forEachColor(rgba, change) {
  for (let index = 0; index < rgba.length; index += 4) {
    for (let channel = index; channel < index + 3; channel += 1) rgba[channel] = change(rgba[channel], rgba[index + 3]);
  }
}
