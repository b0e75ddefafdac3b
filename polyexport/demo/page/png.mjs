/**
 * PNG files of 8 bits a channel, to the exact pixels: a browser's own canvas mixes colors with their alpha, and knows no
 * gray files. Sections are those of W3C's PNG specification, third edition.
 */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const CHANNELS = { 0: 1, 2: 3, 6: 4 }; // by the color type in the header
const COLOR_TYPES = { 1: 0, 3: 2, 4: 6 };

/**
 * Decode a PNG file.
 *
 * @param {Uint8Array} file gray, RGB or RGBA, of 8 bits a channel, not interlaced
 * @returns {Promise<{pixels: Uint8Array, width: number, height: number, channels: number}>} [height, width, channels]
 * @throws {Error} it is another file, or damaged
 */
export async function decodePng(file) {
  if (SIGNATURE.some((byte, index) => file[index] !== byte)) throw new Error("not a PNG file");
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let header = null;
  const data = [];
  for (let at = SIGNATURE.length; at + 12 <= file.length; ) {
    const length = view.getUint32(at);
    const name = String.fromCharCode(...file.subarray(at + 4, at + 8));
    if (name === "IHDR") {
      const [bits, colorType, , , interlaced] = file.subarray(at + 16, at + 21);
      if (bits !== 8 || interlaced !== 0 || !(colorType in CHANNELS)) throw new Error("a PNG file of another kind");
      header = { width: view.getUint32(at + 8), height: view.getUint32(at + 12), channels: CHANNELS[colorType] };
    } else if (name === "IDAT") {
      data.push(file.subarray(at + 8, at + 8 + length));
    }
    at += 12 + length;
  }
  if (header === null) throw new Error("a PNG file without a header");
  const rows = await through(new DecompressionStream("deflate"), data);
  return { ...header, pixels: unfiltered(rows, header) };
}

/**
 * Encode pixels as a PNG file.
 *
 * @param {Uint8Array} pixels [height, width, channels]
 * @param {number} width pixels
 * @param {number} height pixels
 * @param {number} channels 1 for gray, 3 for RGB, 4 for RGBA
 * @returns {Promise<Blob>}
 */
export async function encodePng(pixels, width, height, channels) {
  const stride = width * channels;
  const rows = new Uint8Array(height * (stride + 1));
  for (let row = 0; row < height; row += 1) {
    rows.set(pixels.subarray(row * stride, (row + 1) * stride), row * (stride + 1) + 1);
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, COLOR_TYPES[channels]], 8);
  const body = await through(new CompressionStream("deflate"), [rows]);
  const parts = [Uint8Array.from(SIGNATURE), chunk("IHDR", header), chunk("IDAT", body), chunk("IEND", new Uint8Array())];
  return new Blob(parts, { type: "image/png" });
}

async function through(stream, parts) {
  return new Uint8Array(await new Response(new Blob(parts).stream().pipeThrough(stream)).arrayBuffer());
}

/** Undo the filters of the rows (PNG specification, 9.2). */
function unfiltered(rows, { width, height, channels }) {
  const stride = width * channels;
  if (rows.length !== height * (stride + 1)) throw new Error("a PNG file of another length than its header says");
  const pixels = new Uint8Array(height * stride);
  for (let row = 0; row < height; row += 1) {
    const start = row * stride;
    const filter = rows[row * (stride + 1)];
    for (let index = 0; index < stride; index += 1) {
      const left = index >= channels ? pixels[start + index - channels] : 0;
      const up = row > 0 ? pixels[start + index - stride] : 0;
      const corner = row > 0 && index >= channels ? pixels[start + index - stride - channels] : 0;
      pixels[start + index] = rows[row * (stride + 1) + 1 + index] + guessOf(filter, left, up, corner);
    }
  }
  return pixels;
}

function guessOf(filter, left, up, corner) {
  if (filter < 3) return filter === 0 ? 0 : filter === 1 ? left : up;
  if (filter === 3) return (left + up) >> 1;
  const guess = left + up - corner;
  const toLeft = Math.abs(guess - left);
  const toUp = Math.abs(guess - up);
  const toCorner = Math.abs(guess - corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

function chunk(name, body) {
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set([...name].map((character) => character.charCodeAt(0)), 4);
  bytes.set(body, 8);
  view.setUint32(8 + body.length, crc32(bytes.subarray(4, 8 + body.length)));
  return bytes;
}

const CRCS = Uint32Array.from({ length: 256 }, (_, number) => {
  let value = number;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRCS[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
