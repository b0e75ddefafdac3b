/** A drawing scaled down without losing its thin lines, as in polyexport/imaging/reduction.py. */

import { WALL } from "./ink.mjs";
import { largest } from "./neighbors.mjs";
import { averaged, extremes, LANCZOS, resample } from "./resample.mjs";

const KEPT = 1.5;
const SOLID = 204;

/** @typedef {import("./resample.mjs").Size} Size */

/** One way from the size of a drawing to a smaller one, which the drawing and its ink share. */
export class Reduction {
  #from;
  #to;
  #side;
  #blocks; // size of the drawing in blocks
  #thin = []; // numbers of the blocks that hold ink and have no solid block beside them

  /**
   * @param {Uint8Array | null} ink share of each pixel that ink covers, [height, width]; null if there is none
   * @param {Size} from size of the drawing
   * @param {Size} to size of the result, at most that of the drawing
   */
  constructor(ink, from, to) {
    this.#from = from;
    this.#to = to;
    const scale = Math.min(from.height / to.height, from.width / to.width);
    this.#side = ink === null ? 1 : Math.max(1, Math.trunc(scale / KEPT));
    this.#blocks = { width: Math.ceil(from.width / this.#side), height: Math.ceil(from.height / this.#side) };
    if (this.#side > 1) this.#findThin(ink);
  }

  #findThin(ink) {
    const isSolid = averaged(ink, this.#from, this.#side, 1).map((mean) => (mean >= SOLID ? 1 : 0));
    const nearSolid = largest(isSolid, this.#blocks, 1);
    extremes(ink, this.#from, this.#side, 1, { isLargest: true }).forEach((covered, block) => {
      if (covered >= WALL && nearSolid[block] === 0) this.#thin.push(block);
    });
  }

  /**
   * Scale a picture of dark lines on light paper down.
   *
   * @param {Uint8Array} pixels [height, width, channels]
   * @param {number} channels
   * @returns {Uint8Array} [height, width, channels]
   */
  of(pixels, channels) {
    const [from, side] = [this.#from, this.#side];
    if (side === 1) return resample(pixels, from, this.#to, LANCZOS, { channels });
    const means = averaged(pixels, from, side, channels);
    for (const block of this.#thin) {
      for (let channel = 0; channel < channels; channel += 1) {
        means[block * channels + channel] = this.#darkest(pixels, block, channels, channel);
      }
    }
    const part = { width: from.width / side, height: from.height / side };
    return resample(means, this.#blocks, this.#to, LANCZOS, { channels, part });
  }

  #darkest(pixels, block, channels, channel) {
    const { width, height } = this.#from;
    const top = Math.floor(block / this.#blocks.width) * this.#side;
    const left = (block % this.#blocks.width) * this.#side;
    const [bottom, right] = [Math.min(height, top + this.#side), Math.min(width, left + this.#side)];
    let found = 255;
    for (let row = top; row < bottom; row += 1) {
      for (let column = left; column < right; column += 1) {
        const value = pixels[(row * width + column) * channels + channel];
        if (value < found) found = value;
      }
    }
    return found;
  }
}
