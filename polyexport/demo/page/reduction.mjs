/** A drawing scaled down without losing its thin lines, as in polyexport/imaging/reduction.py. */

import { WALL } from "./ink.mjs";
import { largest } from "./neighbors.mjs";
import { averaged, extremes, LANCZOS, resample } from "./resample.mjs";

const KEPT = 1.5;
const SOLID = 204;

/**
 * Scale a picture down.
 *
 * @param {Uint8Array} pixels [height, width, channels], dark lines on light paper
 * @param {import("./resample.mjs").Size} from its size
 * @param {import("./resample.mjs").Size} to size of the result, at most that of the picture
 * @param {Uint8Array | null} ink coverage by ink, [height, width]; null if there is none
 * @param {number} channels
 * @returns {Uint8Array} [height, width, channels]
 */
export function reduced(pixels, from, to, ink, channels) {
  const scale = Math.min(from.height / to.height, from.width / to.width);
  const side = Math.trunc(scale / KEPT);
  if (side < 2 || ink === null) return resample(pixels, from, to, LANCZOS, { channels });
  const means = averaged(pixels, from, side, channels);
  const size = { width: Math.ceil(from.width / side), height: Math.ceil(from.height / side) };
  const darkest = extremes(pixels, from, side, channels, { isLargest: false });
  thinBlocks(ink, from, side, size).forEach((isThin, block) => {
    if (isThin === 0) return;
    for (let index = block * channels; index < (block + 1) * channels; index += 1) means[index] = darkest[index];
  });
  const part = { width: from.width / side, height: from.height / side };
  return resample(means, size, to, LANCZOS, { channels, part });
}

/** Blocks that hold ink and have no solid block beside them. */
function thinBlocks(ink, from, side, size) {
  const isSolid = averaged(ink, from, side, 1).map((mean) => (mean >= SOLID ? 1 : 0));
  const nearSolid = largest(isSolid, size, 1);
  return extremes(ink, from, side, 1, { isLargest: true }).map((value, block) =>
    value >= WALL && nearSolid[block] === 0 ? 1 : 0,
  );
}
