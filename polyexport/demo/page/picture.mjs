/**
 * Picture files that a person gives: untrusted bytes -> an upright bitmap.
 *
 * The format is decided by the bytes, and the size is read from them before a pixel is decoded.
 */

import { fittedSize } from "./canvas.mjs";

const MAX_FILE_BYTES = 64 * 1024 * 1024;
const MAX_PIXELS = 64 * 1024 * 1024; // as in polyexport/imaging/pixels.py
const MAX_SIDE = 1024; // of a picture on the sheet; larger ones are scaled down
const MAX_NAME = 60; // characters of a file's name in a message
const FORMATS = "a PNG, JPEG, WebP or GIF";

/** An error with one plain line for the person who gave the file. */
export class NotAPicture extends Error {}

/**
 * Read a picture file.
 *
 * @param {File} file
 * @returns {Promise<ImageBitmap>} turned upright as its EXIF orientation says, and at most 1024 pixels on its longer side
 * @throws {NotAPicture} the file is too large, damaged or of another kind
 */
export async function readPicture(file) {
  const name = shortened(file.name || "The picture");
  if (file.size > MAX_FILE_BYTES) {
    throw new NotAPicture(`${name} has more than ${MAX_FILE_BYTES / 2 ** 20} MiB. Open a smaller picture.`);
  }
  let bytes;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new NotAPicture(`${name} cannot be read, as a folder cannot be. Open ${FORMATS}.`);
  }
  if (isSvg(bytes, file.type)) {
    throw new NotAPicture(`${name} is an SVG file, which has no pixels. Save it as PNG and open that.`);
  }
  const size = sizeOf(bytes);
  if (size === null) throw new NotAPicture(`${name} is not an image that this page reads. Open ${FORMATS}.`);
  refuseTooManyPixels(name, size);
  try {
    const bitmap = await createImageBitmap(new Blob([bytes]), { imageOrientation: "from-image" });
    refuseTooManyPixels(name, bitmap); // what a header says is not always what is decoded
    return scaledDown(bitmap);
  } catch (error) {
    if (error instanceof NotAPicture) throw error;
    throw new NotAPicture(`${name} is damaged, and this browser cannot decode it. Open another copy.`);
  }
}

function shortened(name) {
  return name.length > MAX_NAME ? `${name.slice(0, MAX_NAME - 1)}…` : name;
}

function refuseTooManyPixels(name, { width, height }) {
  if (width * height <= MAX_PIXELS && width > 0 && height > 0) return;
  throw new NotAPicture(
    `${name} has ${width} x ${height} pixels, and this page decodes 1 to ${MAX_PIXELS.toLocaleString("en")}. ` +
      "Scale it first.",
  );
}

function scaledDown(bitmap) {
  const [width, height] = fittedSize(bitmap.width, bitmap.height, MAX_SIDE);
  if (width === bitmap.width && height === bitmap.height) return bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return canvas.transferToImageBitmap();
}

function isSvg(bytes, type) {
  if (type === "image/svg+xml") return true;
  const start = new TextDecoder().decode(bytes.subarray(0, 1024)).trimStart();
  return start.startsWith("<") && start.includes("<svg");
}

/**
 * Read the size of a picture from its header.
 *
 * @param {Uint8Array} bytes of a file
 * @returns {{width: number, height: number} | null} pixels as stored; null if it is not a PNG, JPEG, WebP or GIF
 */
export function sizeOf(bytes) {
  try {
    return sizeOfPng(bytes) ?? sizeOfJpeg(bytes) ?? sizeOfGif(bytes) ?? sizeOfWebp(bytes);
  } catch (error) {
    if (error instanceof RangeError) return null; // the header is cut
    throw error;
  }
}

function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function isText(bytes, at, text) {
  return [...text].every((character, index) => bytes[at + index] === character.charCodeAt(0));
}

function sizeOfPng(bytes) {
  if (!isText(bytes, 0, "\x89PNG\r\n\x1a\n") || !isText(bytes, 12, "IHDR")) return null;
  const view = viewOf(bytes);
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

function sizeOfGif(bytes) {
  if (!isText(bytes, 0, "GIF87a") && !isText(bytes, 0, "GIF89a")) return null;
  const view = viewOf(bytes);
  return { width: view.getUint16(6, true), height: view.getUint16(8, true) };
}

function sizeOfWebp(bytes) {
  if (!isText(bytes, 0, "RIFF") || !isText(bytes, 8, "WEBP")) return null;
  const view = viewOf(bytes);
  if (isText(bytes, 12, "VP8X")) {
    const threeBytes = (at) => view.getUint16(at, true) + 2 ** 16 * view.getUint8(at + 2);
    return { width: 1 + threeBytes(24), height: 1 + threeBytes(27) };
  }
  if (isText(bytes, 12, "VP8L")) {
    const bits = view.getUint32(21, true);
    return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) };
  }
  if (!isText(bytes, 12, "VP8 ")) return null;
  return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}

function sizeOfJpeg(bytes) {
  if (!isText(bytes, 0, "\xff\xd8\xff")) return null;
  const view = viewOf(bytes);
  let at = 2;
  for (;;) {
    if (view.getUint8(at) !== 0xff) return null;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at += 1; // a filling byte
      continue;
    }
    if (marker === 0xd9 || marker === 0xda) return null; // pixels or the end before a size
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    at += 2 + view.getUint16(at + 2);
  }
}
