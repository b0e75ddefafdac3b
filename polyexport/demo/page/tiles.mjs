/** Tiles: a large canvas cut into equal pieces for the network, and joined again, as in polyexport/model/tiles.py. */

import { scaledSide } from "./contract.mjs";

/**
 * @typedef {object} TileRule How a canvas is cut; the names are those of polyexport/model/tiles.py.
 * @property {number} side height and width of a tile as the network gets it, overlaps included, pixels
 * @property {number} overlap pixels that a tile shares with each of its neighbors
 * @property {number} multiple the network's `size_multiple`
 * @property {number} above number of pixels up to which a canvas is not cut
 */

/**
 * @typedef {object} Span Extent of one tile along an axis, pixels of the canvas.
 * @property {number} start first pixel that the network gets
 * @property {number} stop pixel after the last one that the network gets
 * @property {number} first first pixel of the result that is taken from this tile
 * @property {number} last pixel after the last one that is taken from this tile
 */

/**
 * Memory of a tab, bytes: WASM has addresses of 32 bits. The tensors of one call may take an eighth of it, as in
 * polyexport/model/tile_choice.py: a runtime needs about twice their size, and the model and other runs some as well.
 */
const MEMORY_BYTES = 4 * 1024 ** 3;
const MEMORY_SHARE = 8;
const UNKNOWN_BYTES_PER_PIXEL = 2048; // of a network whose graph was not measured
const SIDE = 512; // of a tile, pixels, where neither the overlap nor the memory speaks against it
const OVERLAPS_PER_SIDE = 8;
const LEAST_CORE = 64; // of what is kept of a tile, pixels
const MAX_UNCUT_PIXELS = 2048 ** 2; // MAX_NATIVE_PIXELS of polyexport/model/canvas.py

/**
 * Choose the tiles of a model for canvases that do not fit the memory of a tab.
 *
 * @param {object} contract of the model
 * @param {boolean} native whether images are run at their own size
 * @returns {TileRule | null} null if no canvas is cut: the network is not known to be local, or its result is a fill
 */
export function chosenTiles({ locality = null, result, size_multiple: multiple, smallest_size, fixed_size }, native) {
  if (locality?.kind !== "local" || !native || fixed_size || result.kind === "fill") return null;
  const overlap = 2 * multipleFrom(locality.reach ?? 0, multiple);
  const perPixel = locality.bytes_per_pixel || UNKNOWN_BYTES_PER_PIXEL;
  const pixels = Math.floor(MEMORY_BYTES / MEMORY_SHARE / perPixel);
  const wanted = Math.min(Math.max(SIDE, OVERLAPS_PER_SIDE * overlap), Math.floor(Math.sqrt(pixels)));
  const side = multipleFrom(Math.max(wanted, overlap + LEAST_CORE, smallest_size), multiple);
  return { side, overlap, multiple, above: Math.min(pixels, MAX_UNCUT_PIXELS) };
}

/** @returns {boolean} whether a rule cuts a canvas of a size, pixels */
export function cuts({ side, above }, height, width) {
  return height * width > above && (height > side || width > side);
}

/**
 * Cut one axis of a canvas into tiles of one side; the last one ends where the canvas does.
 *
 * @param {number} length of the axis, pixels
 * @param {TileRule} rule
 * @returns {Span[]}
 */
export function spans(length, { side, overlap, multiple }) {
  if (length <= side) return [{ start: 0, stop: length, first: 0, last: length }];
  const step = side - overlap;
  const count = 1 + Math.ceil((length - side) / step);
  const starts = Array.from({ length: count }, (_, number) => Math.min(number * step, length - side));
  // The seam between a tile and the next one: in the middle of what they share, at a multiple.
  const seams = starts
    .slice(1)
    .map((start, number) => start + Math.floor((starts[number] + side - start) / 2 / multiple) * multiple);
  return starts.map((start, number) => ({
    start,
    stop: start + side,
    first: number === 0 ? 0 : seams[number - 1],
    last: number === count - 1 ? length : seams[number],
  }));
}

/**
 * Run a canvas in tiles.
 *
 * @param {{pixels: Uint8Array, channels: number}[]} planes the canvas and its second pictures, [height, width, channels]
 * @param {{height: number, width: number}} size of the canvas, pixels
 * @param {TileRule} rule
 * @param {(tiles: Uint8Array[], height: number, width: number) => Promise<Uint8Array>} run runs the network on one
 *   tile, with those of the second pictures, and returns its output
 * @param {{scale: string, channels: number}} result the contract's entries about it
 * @returns {Promise<Uint8Array>} output on the whole canvas, [height, width, channels] times the scale
 */
export async function tiledOutput(planes, { height, width }, rule, run, result) {
  const { channels } = result;
  const stride = channels * scaledSide(width, result);
  const output = new Uint8Array(stride * scaledSide(height, result));
  for (const down of spans(height, rule)) {
    for (const across of spans(width, rule)) {
      const columns = across.stop - across.start;
      const tiles = planes.map((plane) => cut(plane, width, down, across));
      const made = await run(tiles, down.stop - down.start, columns);
      const [left, right] = [across.first, across.last].map((at) => scaledSide(at - across.start, result));
      const [top, bottom] = [down.first, down.last].map((at) => scaledSide(at - down.start, result));
      const ownStride = channels * scaledSide(columns, result);
      const to = scaledSide(down.first, result) * stride + channels * scaledSide(across.first, result);
      for (let row = top; row < bottom; row += 1) {
        const own = made.subarray(row * ownStride + channels * left, row * ownStride + channels * right);
        output.set(own, to + (row - top) * stride);
      }
    }
  }
  return output;
}

function cut({ pixels, channels }, width, down, across) {
  const stride = channels * (across.stop - across.start);
  const tile = new Uint8Array(stride * (down.stop - down.start));
  for (let row = down.start; row < down.stop; row += 1) {
    const from = channels * (row * width + across.start);
    tile.set(pixels.subarray(from, from + stride), (row - down.start) * stride);
  }
  return tile;
}

function multipleFrom(extent, multiple) {
  return Math.ceil(extent / multiple) * multiple;
}
