/**
 * The worker that runs the model, the same file that `polyexport infer` runs, with ONNX Runtime Web.
 *
 * It takes {type: "load", url, provider, threads} and then {type: "run", image, width, height, values, rgb}, and answers
 * with {type: "progress"}, {type: "loaded"}, {type: "result"} and {type: "failed"}.
 */

import { Canvas, canvasRule, pictureRule } from "./canvas.mjs";
import { colorOf, inputOf, Refused, readContract, scaledSide } from "./contract.mjs";
import { toChannels } from "./pixels.mjs";
import { decodePng } from "./png.mjs";
import { cuts, tiledOutput } from "./tiles.mjs";

const GOLDEN_TOLERANCE = 0.5; // mean absolute difference in levels, as in polyexport/model/model.py
const MAX_MODEL_BYTES = 2 ** 31 - 1; // the limit of protobuf

let model = null;
let last = null; // the drawing that was run last, and its canvas

self.onmessage = async ({ data }) => {
  try {
    if (data.type === "load") {
      model = await load(data);
      const { bytes, goldenDifference, contract } = model;
      self.postMessage({ type: "loaded", contract, bytes, goldenDifference });
    } else {
      const started = performance.now();
      const result = await made(model, data);
      const ms = performance.now() - started;
      self.postMessage({ type: "result", ...result, ms }, [result.pixels.buffer]);
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
  const encoding = colorOf(contract)?.embedding?.encoder;
  const encoder = encoding
    ? await ort.InferenceSession.create(base64(encoding), { executionProviders: ["wasm"] })
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

/**
 * Run the model on an image of any size.
 *
 * @param {object} loaded the result of `load`
 * @param {{image: Uint8Array, width: number, height: number, values: any[], rgb: number[]}} job the image, RGB, the value
 *   of each condition (a second picture as RGB of the image's size), and the color of a fill
 * @returns {Promise<{pixels: Uint8Array, width: number, height: number, channels: number, networkMs: number}>} the result
 *   as `polyexport infer` gives it, and the time of the network alone
 */
async function made(loaded, { image, width, height, values, rgb }) {
  const { contract } = loaded;
  const size = { width, height };
  const rule = canvasRule(contract);
  const place = (pixels, own) => new Canvas(toChannels(pixels, 3, own.channels), size, own);
  const isSame = last !== null && last.width === width && last.height === height && isEqual(last.image, image);
  if (!isSame) last = { image, width, height, canvas: place(image, rule) };
  const { canvas } = last;
  const placed = contract.conditions.map(({ kind, channels }, index) =>
    kind === "image" ? place(values[index], pictureRule(rule, channels)).pixels : values[index],
  );
  const started = performance.now();
  const output = await runCanvas(loaded, canvas, placed, rule.tiles);
  const networkMs = performance.now() - started;
  const result = canvas.restore(output, rgb, contract.result);
  if (contract.result.kind !== "alpha") return { ...result, channels: contract.result.channels, networkMs };
  const pixels = toChannels(image, 3, 4);
  result.pixels.forEach((alpha, index) => (pixels[4 * index + 3] = alpha));
  return { ...result, pixels, channels: 4, networkMs };
}

function isEqual(first, second) {
  for (let index = 0; index < first.length; index += 1) {
    if (first[index] !== second[index]) return false;
  }
  return true;
}

/** Run the network on a canvas, in tiles where a rule cuts it. */
async function runCanvas(loaded, canvas, values, tiles) {
  const { height, width } = canvas;
  if (tiles === null || !cuts(tiles, height, width)) return run(loaded, canvas.pixels, height, width, values);
  const { conditions, image_channels, result } = loaded.contract;
  const planes = [{ pixels: canvas.pixels, channels: image_channels }];
  conditions.forEach(({ kind, channels }, index) => {
    if (kind === "image") planes.push({ pixels: values[index], channels });
  });
  const runTile = ([image, ...pictures], rows, columns) => {
    const own = conditions.map(({ kind }, index) => (kind === "image" ? pictures.shift() : values[index]));
    return run(loaded, image, rows, columns, own);
  };
  return tiledOutput(planes, canvas, tiles, runTile, result);
}

/**
 * Run the network on one image.
 *
 * @param {object} loaded the result of `load`
 * @param {Uint8Array} image [height, width, channels]
 * @param {number} height pixels
 * @param {number} width pixels
 * @param {any[]} values of the conditions: the index of a label or of a color of the palette, sRGB, a number, a vector
 *   as Float32Array, or a second picture, [height, width, channels]
 * @returns {Promise<Uint8Array>} [height, width, channels] of the result
 */
async function run(loaded, image, height, width, values) {
  const { ort, session, contract } = loaded;
  const { result, output_name, image_channels } = contract;
  const inputs = { image: new ort.Tensor("uint8", image, [1, height, width, image_channels]) };
  for (const [index, condition] of contract.conditions.entries()) {
    inputs[inputOf(condition)] = await tensorOf(loaded, condition, values[index], height, width);
  }
  const { [output_name]: output } = await session.run(inputs);
  const size = scaledSide(height, result) * scaledSide(width, result) * result.channels;
  if (output.type !== "uint8" || output.size !== size) {
    throw new Refused(`The graph's output for the drawing is ${output.type} [${output.dims}]`, "export the model again");
  }
  return Uint8Array.from(await output.getData());
}

/** Make the graph's input of a condition. */
async function tensorOf({ ort, encoder }, condition, value, height, width) {
  const { kind } = condition;
  if (kind === "label") return new ort.Tensor("int64", BigInt64Array.of(BigInt(value)), [1]);
  if (kind === "number") return new ort.Tensor("float32", Float32Array.of(value), [1]);
  if (kind === "vector") return new ort.Tensor("float32", value, [1, condition.dim]);
  if (kind === "image") return new ort.Tensor("uint8", value, [1, height, width, condition.channels]);
  const { embedding, conditioning, many_colors } = condition;
  const many = many_colors ? [1] : [];
  if (embedding !== null) {
    let row = value;
    if (!(value instanceof Float32Array)) {
      row = encoder === null ? embeddingRow(embedding, value) : await encoded(ort, encoder, value);
    }
    return new ort.Tensor("float32", row, [1, ...many, embedding.dim]);
  }
  if (conditioning === "rgb") return new ort.Tensor("uint8", Uint8Array.from(value), [1, ...many, 3]);
  return new ort.Tensor("int64", BigInt64Array.of(BigInt(value)), [1, ...many]);
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
  const { golden, conditions, image_channels, result } = loaded.contract;
  let image, expected, values;
  try {
    image = await decodedAs(golden.image_png, image_channels);
    expected = await decodedAs(golden.result_png, result.channels);
    values = await Promise.all(
      conditions.map(async ({ kind, channels }, index) => {
        const value = golden.values[index];
        if (kind === "image") return (await decodedAs(value, channels)).pixels;
        return typeof value === "string" ? new Float32Array(base64(value).buffer) : value;
      }),
    );
  } catch (error) {
    throw new Refused(`The model's golden sample cannot be read (${error.message})`, "export the model again");
  }
  const found = await run(loaded, image.pixels, image.height, image.width, values);
  const sum = found.reduce((total, value, index) => total + Math.abs(value - expected.pixels[index]), 0);
  const difference = sum / found.length;
  if (!(difference <= GOLDEN_TOLERANCE)) {
    throw new Refused(
      `The model's golden sample differs by ${difference.toFixed(2)} levels here, more than ${GOLDEN_TOLERANCE}`,
      "choose another entry of Run on",
    );
  }
  return difference;
}

async function decodedAs(png, channels) {
  const decoded = await decodePng(base64(png));
  if (decoded.channels !== channels) throw new Error(`${decoded.channels} channels, expected ${channels}`);
  return decoded;
}

function base64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
