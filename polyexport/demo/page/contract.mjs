/**
 * Reading and checking the contract of a model file: the checks of polyexport's own loader, as far as a browser can
 * make them.
 */

const METADATA_KEY = "polyexport.contract";
const CONTRACT_VERSION = 2;
const METADATA_PROPS_FIELD = 14; // in ModelProto of onnx.proto
const KEY_FIELD = 1; // in StringStringEntryProto of onnx.proto
const VALUE_FIELD = 2;
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
 * @returns {Promise<object>} its contract; the names are those of docs/contract.md
 * @throws {Refused} the file is not a whole ONNX file, has no contract, or was changed after its export
 */
export async function readContract(model) {
  const text = metadataProps(model).get(METADATA_KEY);
  if (text === undefined) throw new Refused(`The model is refused: its metadata has no ${METADATA_KEY}`, REMEDY);
  let contract;
  try {
    contract = JSON.parse(text);
  } catch {
    throw new Refused("The model is refused: its contract is not JSON", REMEDY);
  }
  if (contract?.contract_version !== CONTRACT_VERSION) {
    const found = String(contract?.contract_version).slice(0, 60);
    throw new Refused(`The model is refused: contract version ${found}, expected ${CONTRACT_VERSION}`, REMEDY);
  }
  if (!isComplete(contract)) throw new Refused("The model is refused: its contract is incomplete", REMEDY);
  const found = await graphSha256(model);
  if (found !== null && found !== contract.graph_sha256) {
    throw new Refused(
      `The model is refused: its graph was changed; it has SHA-256 ${found.slice(0, 12)}…, the contract ` +
        `${String(contract.graph_sha256).slice(0, 12)}…`,
      "fetch or export it again",
    );
  }
  if (contract.conditioning === "embedding" && contract.palette.length === 0) {
    throw new Refused(
      "The model takes color embeddings, but its file holds no table of colors",
      "export it with the table of its colors",
    );
  }
  return contract;
}

/** Check that a contract has everything that the page reads; `polyexport inspect` checks the rest. */
function isComplete({
  conditioning,
  palette,
  embedding,
  training_size,
  size_multiple,
  fixed_size,
  result = "picture",
  precision,
  network,
  graph_sha256,
  parity,
  golden,
}) {
  return (
    ["rgb", "vocabulary", "embedding"].includes(conditioning) &&
    Array.isArray(palette) &&
    palette.every((row) => typeof row?.[0] === "string" && row[1]?.length === 3) &&
    embedding !== undefined &&
    Number.isInteger(training_size) &&
    training_size >= 1 &&
    training_size <= 2048 &&
    Number.isInteger(size_multiple) &&
    size_multiple >= 1 &&
    typeof fixed_size === "boolean" &&
    ["picture", "fill"].includes(result) &&
    [precision, network, graph_sha256, golden?.image_png, golden?.colored_png].every(
      (one) => typeof one === "string",
    ) &&
    golden.color !== undefined &&
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
