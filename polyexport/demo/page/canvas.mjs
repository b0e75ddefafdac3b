/** The canvas: how an image of any size is placed on the pixels that the network takes, as in polyexport/model/canvas.py. */

import { InkEdges } from "./edges.mjs";
import { findInk, pageIsDark, roundHalfToEven } from "./ink.mjs";
import { Reduction } from "./reduction.mjs";
import { BILINEAR, LANCZOS, resample } from "./resample.mjs";

/** @typedef {import("./resample.mjs").Size} Size */

const WHITE = 255;

/**
 * Scale a size down to a square, as `fit` does; smaller ones stay.
 *
 * @param {number} width pixels
 * @param {number} height pixels
 * @param {number} size height and width of the square, pixels
 * @returns {[number, number]} width and height in the square, at least 1 pixel each
 */
export function fittedSize(width, height, size) {
  const scale = Math.min(1, size / Math.max(width, height));
  return [width, height].map((side) => Math.max(1, roundHalfToEven(side * scale)));
}

/** An image on its canvas, at the upper left, and what is needed to give the output the size of the image. */
export class Canvas {
  /** @type {Uint8Array} RGB, [height, width, 3] */
  pixels;
  /** @type {number} pixels */
  width;
  /** @type {number} pixels */
  height;

  #imageSize;
  #inner;
  #edges = null; // for a model whose result is a fill

  /**
   * @param {Uint8Array} image RGB, [height, width, 3]
   * @param {Size} imageSize
   * @param {{training_size: number, size_multiple: number, fixed_size: boolean, result?: "picture" | "fill"}} contract
   *   of the model
   */
  constructor(image, imageSize, contract) {
    const [width, height] = fittedSize(imageSize.width, imageSize.height, contract.training_size);
    this.#imageSize = imageSize;
    this.#inner = { width, height };
    const isFill = contract.result === "fill";
    const isSquare = contract.fixed_size || !isFill;
    const multiple = contract.size_multiple;
    const padded = (side) => (isSquare ? contract.training_size : Math.ceil(side / multiple) * multiple);
    this.width = padded(width);
    this.height = padded(height);
    const scaled = isFill ? this.#drawing(image) : resample(image, imageSize, this.#inner, LANCZOS, { channels: 3 });
    this.pixels = new Uint8Array(3 * this.width * this.height).fill(WHITE);
    for (let row = 0; row < (isFill ? this.height : height); row += 1) {
      const from = 3 * Math.min(row, height - 1) * width;
      this.pixels.set(scaled.subarray(from, from + 3 * width), 3 * row * this.width);
      if (!isFill) continue;
      for (let index = 3 * (row * this.width + width); index < 3 * (row + 1) * this.width; index += 1) {
        this.pixels[index] = this.pixels[index - 3];
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
   * Give the network's output on this canvas the size of the image.
   *
   * @param {Uint8Array} output RGB, [height, width, 3] of the canvas
   * @param {[number, number, number]} rgb color of the fill, sRGB, 0 to 255
   * @returns {Uint8Array} RGB, [height, width, 3] of the image
   */
  restore(output, rgb) {
    const { width, height } = this.#inner;
    const inner = new Uint8Array(3 * width * height);
    for (let row = 0; row < height; row += 1) {
      const from = 3 * row * this.width;
      inner.set(output.subarray(from, from + 3 * width), 3 * row * width);
    }
    if (this.#edges !== null) return this.#edges.draw(inner, this.#inner, rgb);
    return resample(inner, this.#inner, this.#imageSize, BILINEAR, { channels: 3 });
  }
}
