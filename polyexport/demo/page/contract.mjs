/**
 * Reading and checking the contract of a model file: the checks of polyexport's own loader, as far as a browser can
 * make them.
 */

const METADATA_KEY = "polyexport.contract";
const CONTRACT_VERSIONS = [2, 3];
const METADATA_PROPS_FIELD = 14; // in ModelProto of onnx.proto
const KEY_FIELD = 1; // in StringStringEntryProto of onnx.proto
const VALUE_FIELD = 2;
const MAX_REACH = 4096; // of a network that is local, pixels
const MAX_NODES = 8; // that make a network global
const REMEDY = "give a model that `polyexport export` wrote";

/** An error that the user of the page can do something about. */
export class Refused extends Error {
  /**
   * @param {string} message what was found, and what was expected
   * @param {string} remedy what to do
   */
  constructor(message, remedy) {
    super(message);
    this.name = "Refused";
    this.remedy = remedy;
  }
}

/**
 * Read and check the contract of a model file.
 *
 * @param {Uint8Array} model the bytes of an ONNX file
 * @returns {Promise<object>} its contract, of version 3 also where the file has version 2; the names are those of
 *   docs/contract.md
 * @throws {Refused} the file is not a whole ONNX file, has no contract, or was changed after its export
 */
export async function readContract(model) {
  const text = metadataProps(model).get(METADATA_KEY);
  if (text === undefined) throw new Refused(`The model is refused: its metadata has no ${METADATA_KEY}`, REMEDY);
  let entries;
  try {
    entries = JSON.parse(text);
  } catch {
    throw new Refused("The model is refused: its contract is not JSON", REMEDY);
  }
  const version = entries?.contract_version;
  if (!CONTRACT_VERSIONS.includes(version)) {
    throw new Refused(
      `The model is refused: contract version ${String(version).slice(0, 60)}, expected ${CONTRACT_VERSIONS.join(" or ")}`,
      REMEDY,
    );
  }
  const contract = version === 2 ? renewed(entries) : entries;
  if (!isComplete(contract)) throw new Refused("The model is refused: its contract is incomplete", REMEDY);
  const found = await graphSha256(model);
  if (found !== null && found !== contract.graph_sha256) {
    throw new Refused(
      `The model is refused: its graph was changed; it has SHA-256 ${found.slice(0, 12)}…, the contract ` +
        `${String(contract.graph_sha256).slice(0, 12)}…`,
      "fetch or export it again",
    );
  }
  const color = colorOf(contract);
  if (color?.conditioning === "embedding" && color.palette.length === 0) {
    throw new Refused(
      "The model takes color embeddings, but its file holds no table of colors",
      "export it with the table of its colors",
    );
  }
  return contract;
}

/** @returns {object | null} the entries of the condition that is a color; null if a model takes none */
export function colorOf({ conditions }) {
  return conditions.find(({ kind }) => kind === "color") ?? null;
}

/** Name of the graph's input that is a condition. */
export function inputOf({ kind, name, color_input }) {
  return name || (kind === "color" && color_input === "embedding" ? "color_embedding" : "color");
}

/** The height or width of a result for that of an image, pixels. */
export function scaledSide(side, { scale }) {
  const [up, down = 1] = scale.split("/").map(Number);
  return Math.ceil((side * up) / down);
}

/** Write the entries of version 2 as version 3 has them. */
function renewed({ conditioning, palette, color_input, embedding, many_colors, result = "picture", golden, ...entries }) {
  const color = { kind: "color", name: "", conditioning, palette, color_input, embedding, many_colors };
  return {
    ...entries,
    conditions: [color],
    golden: { image_png: golden?.image_png, values: [golden?.color], result_png: golden?.colored_png },
    image_channels: 3,
    output_name: "colored",
    result: { kind: result, scale: "1", channels: 3 },
    smallest_size: 1,
    training_width: 0,
  };
}

const isText = (value) => typeof value === "string";
const isSide = (value, least = 1) => Number.isInteger(value) && value >= least && value <= 2048;
const isChannels = (value) => [1, 3, 4].includes(value);
const isOptional = (value, check) => value === null || check(value);

/** What each kind of condition has to have. */
const CONDITIONS = {
  color: ({ conditioning, palette, embedding }) =>
    ["rgb", "vocabulary", "embedding"].includes(conditioning) &&
    Array.isArray(palette) &&
    palette.every((row) => isText(row?.[0]) && row[1]?.length === 3) &&
    embedding !== undefined,
  label: ({ labels, default: usual }) =>
    Array.isArray(labels) && labels.length > 0 && labels.every(isText) && isOptional(usual, isText),
  number: ({ minimum, maximum, unit, default: usual }) =>
    Number.isFinite(minimum) && Number.isFinite(maximum) && isText(unit) && isOptional(usual, Number.isFinite),
  vector: ({ dim, default: usual }) =>
    Number.isInteger(dim) && dim >= 1 && isOptional(usual, (values) => values?.length === dim),
  image: ({ channels }) => isChannels(channels),
};

/** The checks of polyexport/model/locality.py. */
export function isLocality({ kind, reach = 0, nodes = [], tiled_max_diff = 0, tiled_values = 0, bytes_per_pixel = 0 }) {
  const isCount = (value, most = Number.MAX_SAFE_INTEGER) => Number.isInteger(value) && value >= 0 && value <= most;
  return (
    ["local", "global"].includes(kind) &&
    isCount(reach, kind === "local" ? MAX_REACH : 0) &&
    Array.isArray(nodes) &&
    nodes.length <= (kind === "local" ? 0 : MAX_NODES) &&
    nodes.every(isText) &&
    isCount(tiled_max_diff, 255) &&
    isCount(tiled_values) &&
    isCount(bytes_per_pixel)
  );
}

/** Check that a contract has everything that the page reads; `polyexport inspect` checks the rest. */
function isComplete({
  conditions,
  image_channels,
  result,
  output_name,
  training_size,
  training_width,
  smallest_size,
  size_multiple,
  fixed_size,
  precision,
  network,
  graph_sha256,
  parity,
  golden,
  locality = null,
}) {
  return (
    Array.isArray(conditions) &&
    conditions.every((one) => isText(one?.name) && Object.hasOwn(CONDITIONS, one.kind) && CONDITIONS[one.kind](one)) &&
    isChannels(image_channels) &&
    ["picture", "fill", "mask", "alpha", "labels"].includes(result?.kind) &&
    /^([1-8]|1\/[2-4])$/.test(result.scale) &&
    isChannels(result.channels) &&
    isOptional(locality, isLocality) &&
    isSide(training_size) &&
    isSide(training_width, 0) &&
    isSide(smallest_size) &&
    isSide(size_multiple) &&
    typeof fixed_size === "boolean" &&
    [output_name, precision, network, graph_sha256, golden?.image_png, golden?.result_png].every(isText) &&
    golden.values?.length === conditions.length &&
    golden.values.every((value) => value !== undefined) &&
    typeof parity?.stages?.at(-1)?.uint8_equal === "number" &&
    typeof parity.stages.at(-1).values === "number"
  );
}

/**
 * Read the metadata of a model file.
 *
 * @param {Uint8Array} model the bytes of an ONNX file
 * @returns {Map<string, string>} its metadata_props
 * @throws {Refused} the bytes are not a whole protobuf message
 */
export function metadataProps(model) {
  const found = new Map();
  for (const { number, content, end } of records(model)) {
    if (number !== METADATA_PROPS_FIELD || content === null) continue;
    const entry = new Map();
    for (const field of records(model.subarray(content, end))) {
      if (field.content === null) continue;
      entry.set(field.number, new TextDecoder().decode(model.subarray(content + field.content, content + field.end)));
    }
    found.set(entry.get(KEY_FIELD) ?? "", entry.get(VALUE_FIELD) ?? "");
  }
  return found;
}

/**
 * Compute the SHA-256 of everything that decides what a model computes: its bytes without metadata_props.
 *
 * @param {Uint8Array} model the bytes of an ONNX file
 * @returns {Promise<string | null>} in hexadecimal; null where the browser computes no digests, as on plain HTTP
 *   from another machine
 */
export async function graphSha256(model) {
  if (globalThis.crypto?.subtle === undefined) return null;
  const kept = new Uint8Array(model.length);
  let length = 0;
  for (const { number, start, end } of records(model)) {
    if (number === METADATA_PROPS_FIELD) continue;
    kept.set(model.subarray(start, end), length);
    length += end - start;
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", kept.subarray(0, length)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Iterate over the fields of one protobuf message (https://protobuf.dev/programming-guides/encoding/).
 *
 * @param {Uint8Array} bytes the message
 * @yields {{number: number, content: number | null, start: number, end: number}} field number, where its content starts
 *   if it is length-delimited, and where the record starts and ends
 */
function* records(bytes) {
  let start = 0;
  while (start < bytes.length) {
    const { value: tag, position } = varint(bytes, start);
    let content = null;
    let end = Infinity;
    const kind = tag % 8;
    if (kind === 0) {
      end = varint(bytes, position).position;
    } else if (kind === 1) {
      end = position + 8;
    } else if (kind === 2) {
      const length = varint(bytes, position);
      content = length.position;
      end = content + length.value;
    } else if (kind === 5) {
      end = position + 4;
    }
    if (!(end <= bytes.length)) throw new Refused("The file is not a whole ONNX model", REMEDY);
    yield { number: Math.floor(tag / 8), content, start, end };
    start = end;
  }
}

/** Read the varint at a position: its value and the position after it, which is infinite if the varint is not whole. */
function varint(bytes, position) {
  let value = 0;
  for (let index = 0; index < 10 && position + index < bytes.length; index += 1) {
    const byte = bytes[position + index];
    value += (byte & 0x7f) * 2 ** (7 * index); // lengths stay far below 2 ** 53
    if (byte < 0x80) return { value, position: position + index + 1 };
  }
  return { value: 0, position: Infinity };
}
