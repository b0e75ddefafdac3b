/** The canvas: how an image of any size is placed on the pixels that the network takes, as in polyexport/model/canvas.py. */

import { roundHalfToEven } from "./ink.mjs";
import { BILINEAR, LANCZOS, resample } from "./resample.mjs";

const WHITE = 255;

/**
 * Scale an image's size down to a square, as `fit` does; smaller images keep theirs.
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

/** An image, RGB [height, width, 3], and its copy on a white square canvas, RGB [size, size, 3], at the upper left. */
export class Canvas {
  #inner;

  /**
   * @param {Uint8Array} image RGB, [height, width, 3]
   * @param {number} width pixels
   * @param {number} height pixels
   * @param {number} size height and width of the canvas, pixels
   */
  constructor(image, width, height, size) {
    Object.assign(this, { width, height, size });
    const [innerWidth, innerHeight] = fittedSize(width, height, size);
    this.#inner = { width: innerWidth, height: innerHeight };
    const scaled = resample(image, { width, height }, this.#inner, LANCZOS, { channels: 3 });
    this.pixels = new Uint8Array(3 * size * size).fill(WHITE);
    for (let row = 0; row < innerHeight; row += 1) {
      const from = 3 * row * innerWidth;
      this.pixels.set(scaled.subarray(from, from + 3 * innerWidth), 3 * row * size);
    }
  }

  /**
   * Cut the network's output on this canvas back to the size of the image.
   *
   * @param {Uint8Array} output RGB, [size, size, 3]
   * @returns {Uint8Array} RGB, [height, width, 3]
   */
  restore(output) {
    const { width, height } = this.#inner;
    const inner = new Uint8Array(3 * width * height);
    for (let row = 0; row < height; row += 1) {
      const from = 3 * row * this.size;
      inner.set(output.subarray(from, from + 3 * width), 3 * row * width);
    }
    return resample(inner, this.#inner, { width: this.width, height: this.height }, BILINEAR, { channels: 3 });
  }
}
