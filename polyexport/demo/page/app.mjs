/** The page's program: it connects the controls to the sheet, the network and the flood fill. */

import { Colors } from "./colors.mjs";
import { Conditions } from "./conditions.mjs";
import { colorOf } from "./contract.mjs";
import { Cursor } from "./cursor.mjs";
import { Drawing } from "./drawing.mjs";
import { Engine, waysToRun, whyOneThread } from "./engine.mjs";
import { download, listenForFiles, save } from "./files.mjs";
import { floodFill } from "./floodfill.mjs";
import { galleryButtons, pictureOf } from "./gallery.mjs";
import { NotAPicture, readPicture } from "./picture.mjs";
import { CONTEXT, imageOf, shareOf } from "./pixels.mjs";
import { encodePng } from "./png.mjs";
import { MASK_VIEWS, saved, shown } from "./results.mjs";

const MODEL = "model.onnx";
const RUNS_IN_MEDIAN = 15; // the time shown is the median of the last runs
const SPOKEN_AFTER_MS = 800; // without a change, so that a screen reader does not speak at every stroke
const LARGE_PIXEL = 3; // screen pixels; from this size on, pixels are shown as squares

const $ = (id) => document.getElementById(id);
const network = $("network").getContext("2d", { willReadFrequently: true }); // a result may have alpha
const flood = $("flood").getContext("2d", CONTEXT);

let contract = null;
let ways = [];
let revision = 0; // counts the changes of the drawing and of its color
let queued = false;
let times = [];
let withoutGpu = ""; // why the GPU is not used, if there is one
let asked = null; // the way to run the network that is being loaded
let running = null; // the way to run the network that is in use
let opened = 0; // number of pictures asked for so far; one that is read slowly does not replace a later one
let made = null; // the last result, its image and the name of its file
let floodShare = NaN;
let speaking = 0;

const engine = new Engine({ progress, loaded, result, failed });
const drawing = new Drawing($("drawing"), () => {
  sayOfFile(""); // it was about a file that the person no longer waits for
  changed();
});
const cursor = new Cursor(drawing, $("cursor"), $("pen"));
const colors = new Colors(
  {
    any: $("any-color"),
    picker: $("color"),
    text: $("color-text"),
    problem: $("color-message"),
    swatches: $("swatches"),
  },
  changed,
);

const conditions = new Conditions({ fields: $("conditions"), panels: $("gallery") }, colors, changed);

// ---- the drawing goes through the network and, for a model that takes a color, through the flood fill

function changed() {
  revision += 1;
  $("drawing").dataset.revision = String(revision);
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => {
    queued = false;
    const { width, height } = drawing;
    const image = drawing.pixels();
    if (takesColor()) fillPlainly(image, width, height);
    conditions.follow(drawing);
    const values = contract === null ? [] : conditions.values;
    const { rgb } = colors;
    const name = takesColor() ? colors.fileName : "result.png";
    if (values !== null) engine.run({ revision, name, rgb, image, width, height, values });
    $("undo").disabled = !drawing.canUndo;
    $("redo").disabled = !drawing.canRedo;
    placeSheets();
    cursor.show();
  });
}

/** Whether the model takes a color, as the shipped one does, which is assumed until another one is loaded. */
function takesColor() {
  return contract === null || colorOf(contract) !== null;
}

function fillPlainly(image, width, height) {
  const started = performance.now();
  const filled = floodFill(image, width, height, colors.rgb);
  $("flood-ms").textContent = milliseconds(performance.now() - started);
  show(flood, imageOf(filled, width, height));
  floodShare = shareOf(filled, colors.rgb);
}

function show(context, image) {
  const { canvas } = context;
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width;
    canvas.height = image.height;
  }
  context.putImageData(image, 0, 0);
  placeSheets();
}

function result({ job, pixels, width, height, channels, ms, networkMs }) {
  const image = { pixels: job.image, width: job.width, height: job.height, channels: 3 };
  made = { result: { pixels, width, height, channels }, image, name: job.name };
  showResult();
  times = [...times, ms].slice(-RUNS_IN_MEDIAN);
  const median = times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)];
  $("network-ms").textContent = milliseconds(median);
  Object.assign($("network").dataset, { ms, networkMs, revision: job.revision });
  $("download").disabled = false;
  clearTimeout(speaking);
  if (!takesColor() || job.revision !== revision) return;
  speaking = setTimeout(() => tell(shareOf(pixels, job.rgb)), SPOKEN_AFTER_MS);
}

function showResult() {
  if (made === null) return;
  const view = viewOfMask();
  show(network, shown(made.result, contract.result.kind, view, made.image));
  const isSeeThrough = made.result.channels === 4 || (contract.result.kind === "mask" && view === "Cut out");
  $("network").parentElement.classList.toggle("see-through", isSeeThrough);
}

function viewOfMask() {
  return document.querySelector("input[name=view]:checked")?.value ?? "";
}

async function downloadResult() {
  const { pixels, width, height, channels } = saved(made.result, contract.result.kind, viewOfMask(), made.image);
  const { name } = made;
  save(await encodePng(pixels, width, height, channels), name);
}

function tell(share) {
  const percent = (part) => `${Math.round(100 * part)} %`;
  $("shares").textContent = Number.isNaN(share)
    ? ""
    : `Colored: ${percent(share)} of the sheet by the network, ${percent(floodShare)} by the flood fill.`;
}

function milliseconds(ms) {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** Give each sheet the shape of its pixels, within its square frame. */
function placeSheets() {
  const seconds = conditions.pictures.map(({ sheet }) => sheet.canvas);
  for (const canvas of [drawing.canvas, network.canvas, flood.canvas, ...seconds]) {
    const leaf = canvas.parentElement;
    const longer = Math.max(canvas.width, canvas.height);
    leaf.style.width = `${(100 * canvas.width) / longer}%`;
    leaf.style.height = `${(100 * canvas.height) / longer}%`;
    const isLarge = leaf.parentElement.clientWidth * devicePixelRatio >= LARGE_PIXEL * longer;
    canvas.classList.toggle("squares", isLarge);
  }
}

new ResizeObserver(placeSheets).observe($("paper"));

// ---- the model

function start(way) {
  asked = way;
  say("Loading the model…");
  engine.load(MODEL, way);
}

function progress({ length, total }) {
  const part = total > 0 ? `${Math.round((100 * length) / total)} %` : `${(length / 2 ** 20).toFixed(1)} MiB`;
  say(`Loading the model… ${part}`);
}

function loaded({ contract: found, bytes, goldenDifference }) {
  contract = found;
  running = asked;
  $("way").dataset.running = running.label;
  times = [];
  $("network").removeAttribute("data-revision");
  $("network-ms").textContent = "";
  const slower = running.provider === "wasm" && running.threads === 1 ? whyOneThread() : "";
  say([withoutGpu, slower].filter(Boolean).join(" "));
  const proof = contract.parity.stages.at(-1);
  $("model").textContent =
    `${contract.network === "trainer" ? "Conditional UNet" : contract.network}, ${contract.precision}, ` +
    `${(bytes / 1e6).toFixed(1)} MB. By its own account, ${(100 * proof.uint8_equal).toFixed(4)} % of ` +
    `${proof.values.toLocaleString("en")} values were equal to the network's own when it was exported; its golden sample is repeated here ` +
    `${goldenDifference === 0 ? "exactly" : `with a mean difference of ${goldenDifference.toFixed(4)} levels`}. ` +
    `Graph ${contract.graph_sha256.slice(0, 12)}.`;
  conditions.offer(contract);
  arrange();
  useTool();
  changed();
}

/** Show what belongs to the kind of the model. */
function arrange() {
  const withColor = takesColor();
  $("plain").hidden = !withColor;
  document.querySelector("main").classList.toggle("no-color", !withColor);
  for (const part of ["swatches", "color-message"]) $(part).hidden = !withColor;
  if (!withColor) {
    $("any-color").hidden = true;
    $("headline").textContent = "Draw or open a picture.";
    $("about").textContent = "The network runs in your browser; no picture leaves this page.";
    $("network").setAttribute("aria-label", "The result of the network");
    $("network").removeAttribute("aria-describedby");
    document.title = "polyexport: try a model";
  }
  const isMask = contract.result.kind === "mask";
  $("views").hidden = !isMask;
  if (!isMask || $("views").querySelector("input") !== null) return;
  for (const view of MASK_VIEWS) {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "view", value: view });
    radio.checked = view === MASK_VIEWS[0];
    radio.addEventListener("change", showResult);
    label.append(radio, ` ${view}`);
    $("views").append(label);
  }
}

function failed({ during, message, remedy }) {
  if (during === "load" && asked.provider === "webgpu") {
    // GPU drivers differ; the CPU always works.
    withoutGpu = `The GPU cannot run the network (${message}); the CPU does.`;
    ways = ways.filter((way) => way !== asked);
    offerWays();
    start(ways[0]);
    return;
  }
  const told = `${message}. ${remedy[0].toUpperCase()}${remedy.slice(1)}.`;
  if (engine.ready) {
    $("way").selectedIndex = ways.indexOf(running);
    say(`${told} The network still runs on: ${running.label}.`, { bad: true });
  } else {
    say(told, { bad: true });
    $("download").disabled = true;
  }
}

function say(text, { bad = false } = {}) {
  const message = $("message");
  message.hidden = text === "";
  message.textContent = text;
  message.classList.toggle("bad", bad);
  message.setAttribute("role", bad ? "alert" : "status");
}

function offerWays() {
  $("way").replaceChildren(...ways.map(({ label }) => new Option(label)));
  $("way").disabled = ways.length < 2;
}

// ---- tools

for (const radio of document.querySelectorAll("input[name=tool]")) radio.addEventListener("change", useTool);

/** Draw with the chosen tool and width on every sheet. */
function useTool() {
  const tool = document.querySelector("input[name=tool]:checked").value;
  const penWidth = Number($("width").value);
  for (const sheet of [drawing, ...conditions.pictures.map((one) => one.sheet)]) Object.assign(sheet, { tool, penWidth });
  cursor.show();
}

function takeTool(name) {
  const radio = document.querySelector(`input[name=tool][value=${name}]`);
  radio.checked = true;
  radio.dispatchEvent(new Event("change"));
}

function setWidth(width) {
  const slider = $("width");
  slider.value = String(width);
  $("width-value").value = slider.value;
  useTool();
}

$("width").addEventListener("input", () => setWidth($("width").value));
$("undo").addEventListener("click", () => drawing.undo());
$("redo").addEventListener("click", () => drawing.redo());
$("clear").addEventListener("click", () => drawing.clear());
$("download").addEventListener("click", downloadResult);
$("download-drawing").addEventListener("click", () => download(drawing.canvas, "drawing.png"));

// ---- pictures from the gallery and from files

const examples = galleryButtons(async (index) => {
  const picture = await latest(() => pictureOf(examples[index]));
  if (picture === null) sayOfFile("This drawing cannot be fetched. Check that the server still runs.");
  else if (picture !== undefined) place(picture, picture.naturalWidth, picture.naturalHeight);
});
$("examples").append(...examples);

async function open(file) {
  if (file === null) {
    sayOfFile("That was a link or a text, not a file. Save the picture as a file and drop that.");
    return;
  }
  try {
    const bitmap = await latest(() => readPicture(file));
    if (bitmap === undefined) return;
    place(bitmap, bitmap.width, bitmap.height);
    bitmap.close();
  } catch (error) {
    if (!(error instanceof NotAPicture)) throw error;
    sayOfFile(error.message);
  }
}

listenForFiles($("file"), $("paper"), open);

/** Wait for a picture; the result is undefined if another one was asked for meanwhile. */
async function latest(read) {
  opened += 1;
  const mine = opened;
  try {
    const picture = await read();
    return mine === opened ? picture : undefined;
  } catch (error) {
    if (mine === opened) throw error;
    return undefined;
  }
}

function place(picture, width, height) {
  drawing.replace(width, height, (context) => context.drawImage(picture, 0, 0, width, height));
}

function sayOfFile(text) {
  $("file-message").hidden = text === "";
  $("file-message").textContent = text;
}

// ---- keys that work everywhere except in text fields

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.isComposing || event.target.closest("input[type=text], input[type=number], input[type=color], select")) return;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z" && event.shiftKey) drawing.redo();
    else if (key === "z") drawing.undo();
    else if (key === "y") drawing.redo();
    else return;
  } else if (/^[0-9]$/.test(key)) {
    examples.at(Number(key) - 1).click();
  } else if (key === "p" || key === "e" || key === "g") {
    takeTool({ p: "pen", e: "eraser", g: "gap" }[key]);
  } else if (key === "[" || key === "]") {
    setWidth(drawing.penWidth + (key === "]" ? 1 : -1));
  } else if (key === "delete" || key === "backspace") {
    drawing.clear();
  } else if (key === "s" && !event.repeat && !$("download").disabled) {
    downloadResult();
  } else {
    return;
  }
  event.preventDefault();
});

// ---- start

async function begin() {
  colors.offer(null);
  const untouched = revision;
  const [first, found] = await Promise.all([pictureOf(examples[0]), waysToRun()]);
  if (first !== null && revision === untouched) place(first, first.naturalWidth, first.naturalHeight);
  ways = found;
  offerWays();
  start(ways[0]);
}

begin();
$("way").addEventListener("change", () => start(ways[$("way").selectedIndex]));
