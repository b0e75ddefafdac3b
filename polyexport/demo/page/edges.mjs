/** The edges of a fill: the network's picture of a drawing gets the edges of its ink, as in polyexport/model/edges.py. */

import { fillCoverage, findRegions } from "./fill.mjs";
import { roundHalfToEven } from "./ink.mjs";

/** @typedef {import("./resample.mjs").Size} Size */

const WHITE = 255;

/** The ink of one drawing, which all colors of the drawing share. */
export class InkEdges {
  #ink;
  #size;
  #reduction;
  #opened = null; // the regions, and the ink's coverage at the size of the network's picture

  /**
   * @param {Uint8Array | null} ink share of each pixel that ink covers, [height, width]; null for a drawing without ink
   * @param {Size} size of the drawing
   * @param {import("./reduction.mjs").Reduction | null} reduction the way from this size to that of the network's picture;
   *   null if they are the same
   */
  constructor(ink, size, reduction) {
    this.#ink = ink;
    this.#size = size;
    this.#reduction = reduction;
  }

  /**
   * Draw the fill that the network's picture means.
   *
   * @param {Uint8Array} output the network's picture of the whole drawing, RGB [height, width, 3]
   * @param {Size} outputSize at most the size of the drawing
   * @param {[number, number, number]} rgb color of the fill, sRGB, 0 to 255
   * @returns {Uint8Array} RGB, [height, width, 3] of the drawing: the color where the fill is, white elsewhere
   */
  draw(output, outputSize, rgb) {
    const drop = rgb.map((value) => WHITE - value);
    const scale = drop.reduce((sum, value) => sum + value * value, 0);
    const picture = new Uint8Array(3 * this.#size.width * this.#size.height).fill(WHITE);
    if (this.#ink === null || scale === 0) return picture;
    const coarse = coverageOf(output, drop, scale);
    this.#opened ??= { regions: findRegions(this.#ink, this.#size), coarseInk: this.#coarseInk() };
    const coverage = fillCoverage(this.#opened.regions, coarse, this.#opened.coarseInk, outputSize);
    const levels = new Uint8Array(3 * 256);
    for (let level = 0; level < 256; level += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        levels[3 * level + channel] = roundHalfToEven(WHITE - (level / 255) * drop[channel]);
      }
    }
    for (let index = 0, to = 0; index < coverage.length; index += 1, to += 3) {
      const from = 3 * coverage[index];
      picture[to] = levels[from];
      picture[to + 1] = levels[from + 1];
      picture[to + 2] = levels[from + 2];
    }
    return picture;
  }

  #coarseInk() {
    if (this.#reduction === null) return Float32Array.from(this.#ink, (covered) => covered / 255);
    const clear = this.#reduction.of(
      this.#ink.map((covered) => WHITE - covered),
      1,
    );
    return Float32Array.from(clear, (level) => (WHITE - level) / 255);
  }
}

/** How much of the fill's color each pixel has, 0 to 1. */
function coverageOf(output, [red, green, blue], scale) {
  const coarse = new Float32Array(output.length / 3);
  for (let index = 0, from = 0; index < coarse.length; index += 1, from += 3) {
    const sum = (WHITE - output[from]) * red + (WHITE - output[from + 1]) * green + (WHITE - output[from + 2]) * blue;
    coarse[index] = Math.min(1, Math.max(0, sum / scale));
  }
  return coarse;
}
