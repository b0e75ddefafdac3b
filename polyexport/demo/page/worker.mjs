/**
 * The worker that runs the model, the same file that `polyexport infer` runs, with ONNX Runtime Web.
 *
 * It takes {type: "load", url, provider, threads} and then {type: "run", image, width, height, color, rgb}, and answers with
 * {type: "progress"}, {type: "loaded"}, {type: "result"} and {type: "failed"}.
 */

import { Canvas } from "./canvas.mjs";
import { Refused, readContract } from "./contract.mjs";
import { rgbOf } from "./pixels.mjs";

const GOLDEN_TOLERANCE = 0.5; // mean absolute difference in levels, as in polyexport/model/model.py
const MAX_MODEL_BYTES = 2 ** 31 - 1; // the limit of protobuf

let model = null;
let last = null; // the drawing that was filled last, and its canvas

self.onmessage = async ({ data }) => {
  try {
    if (data.type === "load") {
      model = await load(data);
      const { embedding, golden, ...contract } = model.contract; // the page uses neither
      self.postMessage({ type: "loaded", contract, bytes: model.bytes, goldenDifference: model.goldenDifference });
    } else {
      const started = performance.now();
      const { colored, networkMs } = await fill(model, data);
      const ms = performance.now() - started;
      self.postMessage({ type: "result", colored, ms, networkMs }, [colored.buffer]);
    }
  } catch (error) {
    const remedy = error instanceof Refused ? error.remedy : "reload the page, or choose another entry of Run on";
    self.postMessage({ type: "failed", message: String(error?.message ?? error), remedy });
  }
};

async function load({ url, provider, threads }) {
  const bytes = await fetched(url);
  const contract = await readContract(bytes);
  const runtime = provider === "webgpu" ? "ort.webgpu.min.mjs" : "ort.wasm.min.mjs";
  let ort;
  try {
    ort = await import(`./runtime/${runtime}`);
  } catch (error) {
    throw new Refused(`The runtime cannot be loaded (${error.message})`, "check that all files of the page are there");
  }
  ort.env.wasm.wasmPaths = new URL("./runtime/", import.meta.url).href;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  const options = { executionProviders: [provider], logSeverityLevel: 3 };
  const session = await ort.InferenceSession.create(bytes, options);
  const encoder = contract.embedding?.encoder
    ? await ort.InferenceSession.create(base64(contract.embedding.encoder), { executionProviders: ["wasm"] })
    : null;
  const loaded = { ort, session, encoder, contract, bytes: bytes.length };
  loaded.goldenDifference = await repeatGolden(loaded);
  return loaded;
}

async function fetched(url) {
  let response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new Refused(`The model cannot be fetched (${error.message})`, "check that the server still runs");
  }
  if (!response.ok) {
    throw new Refused(`The model cannot be fetched (HTTP ${response.status})`, "put model.onnx beside the page");
  }
  const total = Number(response.headers.get("Content-Length"));
  const reader = response.body.getReader();
  const chunks = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    length += value.length;
    if (length > MAX_MODEL_BYTES) throw new Refused("The model is larger than 2 GiB", "give a smaller model");
    self.postMessage({ type: "progress", length, total });
  }
  const bytes = new Uint8Array(length);
  let position = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, position);
    position += chunk.length;
  }
  return bytes;
}

/** Fill a drawing of any size: RGB [height, width, 3] as it was given, and the time of the network alone. */
async function fill(loaded, { image, width, height, color, rgb }) {
  const isSame = last !== null && last.width === width && last.height === height && isEqual(last.image, image);
  if (!isSame) last = { image, width, height, canvas: new Canvas(image, { width, height }, loaded.contract) };
  const { canvas } = last;
  const started = performance.now();
  const output = await run(loaded, canvas.pixels, canvas.height, canvas.width, color);
  const networkMs = performance.now() - started;
  return { colored: canvas.restore(output, rgb), networkMs };
}

function isEqual(first, second) {
  for (let index = 0; index < first.length; index += 1) {
    if (first[index] !== second[index]) return false;
  }
  return true;
}

/**
 * Run the network on one image and one color.
 *
 * @param {object} loaded the result of `load`
 * @param {Uint8Array} image RGB, [height, width, 3]
 * @param {number} height pixels
 * @param {number} width pixels
 * @param {number | number[] | Float32Array} color index into the palette, sRGB, or an embedding
 * @returns {Promise<Uint8Array>} RGB, [height, width, 3]
 */
async function run({ ort, session, encoder, contract }, image, height, width, color) {
  const many = contract.many_colors ? [1] : [];
  let second;
  if (contract.embedding !== null) {
    const { dim } = contract.embedding;
    let row = color;
    if (!(color instanceof Float32Array)) {
      row = encoder === null ? embeddingRow(contract.embedding, color) : await encoded(ort, encoder, color);
    }
    second = { color_embedding: new ort.Tensor("float32", row, [1, ...many, dim]) };
  } else if (contract.conditioning === "rgb") {
    second = { color: new ort.Tensor("uint8", Uint8Array.from(color), [1, ...many, 3]) };
  } else {
    second = { color: new ort.Tensor("int64", BigInt64Array.of(BigInt(color)), [1, ...many]) };
  }
  const { colored } = await session.run({ image: new ort.Tensor("uint8", image, [1, height, width, 3]), ...second });
  if (colored.type !== "uint8" || colored.size !== image.length) {
    throw new Refused(`The graph's output for the drawing is ${colored.type} [${colored.dims}]`, "export the model again");
  }
  return Uint8Array.from(await colored.getData());
}

function embeddingRow({ table, dim }, index) {
  const values = new Float32Array(base64(table).buffer); // little-endian, as on every machine with a browser
  return values.slice(index * dim, (index + 1) * dim);
}

async function encoded(ort, encoder, rgb) {
  const given = new ort.Tensor("uint8", Uint8Array.from(rgb), [1, 3]);
  return (await encoder.run({ color: given })).color_embedding.getData();
}

/** Repeat the golden sample, and refuse a runtime that computes something else. */
async function repeatGolden(loaded) {
  const { golden } = loaded.contract;
  const [image, expected] = await Promise.all([golden.image_png, golden.colored_png].map(decoded));
  const color = typeof golden.color === "string" ? new Float32Array(base64(golden.color).buffer) : golden.color;
  const colored = await run(loaded, image.rgb, image.height, image.width, color);
  const sum = colored.reduce((total, value, index) => total + Math.abs(value - expected.rgb[index]), 0);
  const difference = sum / colored.length;
  if (!(difference <= GOLDEN_TOLERANCE)) {
    throw new Refused(
      `The model's golden sample differs by ${difference.toFixed(2)} levels here, more than ${GOLDEN_TOLERANCE}`,
      "choose another entry of Run on",
    );
  }
  return difference;
}

async function decoded(png) {
  const blob = new Blob([base64(png)], { type: "image/png" });
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { alpha: false, willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return { rgb: rgbOf(context.getImageData(0, 0, width, height)), width, height };
}

function base64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
