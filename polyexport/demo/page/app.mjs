/** The page's program: it connects the controls to the sheet, the network and the flood fill. */

import { hexOf, parseColor } from "./color.mjs";
import { Drawing } from "./drawing.mjs";
import { Engine, waysToRun, whyOneThread } from "./engine.mjs";
import { EXAMPLES } from "./examples.mjs";
import { floodFill } from "./floodfill.mjs";
import { CONTEXT, fittedSize, imageOf } from "./pixels.mjs";

const MODEL = "model.onnx";
const MAX_IMAGE_FILE_BYTES = 64 * 1024 * 1024; // the limit of polyexport/imaging/pixels.py
const SWATCHES = ["tomato", "orange", "gold", "limegreen", "dodgerblue", "mediumpurple", "hotpink", "#222222"];
const RUNS_IN_MEDIAN = 15; // the time shown is the median of the last runs

const $ = (id) => document.getElementById(id);
const network = $("network").getContext("2d", CONTEXT);
const flood = $("flood").getContext("2d", CONTEXT);

let contract = null;
let rgb = parseColor("tomato");
let chosen = 0; // index of the color in the model's palette
let ways = [];
let revision = 0; // counts the changes of the drawing and of its color
let queued = false;
let times = [];
let shownName = "tomato";
let withoutGpu = ""; // why the GPU is not used, if there is one
let asked = null; // the way to run the network that is being loaded
let running = null; // the way to run the network that is in use
let opened = 0; // number of files opened so far; one that is read slowly does not replace a later one
const pictureNames = new Map(); // revision -> file name of its picture

const engine = new Engine({ progress, loaded, result, failed });
const drawing = new Drawing($("drawing"), changed);

// ---- the drawing is filled by the network and by the flood fill

function changed() {
  revision += 1;
  $("drawing").dataset.revision = String(revision);
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => {
    queued = false;
    const image = drawing.pixels();
    const started = performance.now();
    const filled = floodFill(image, drawing.size, rgb);
    $("flood-ms").textContent = milliseconds(performance.now() - started);
    flood.putImageData(imageOf(filled, drawing.size), 0, 0);
    pictureNames.set(revision, fileName());
    engine.run({ id: revision, image, size: drawing.size, color: takesIndex() ? chosen : rgb });
    $("undo").disabled = !drawing.canUndo;
    $("redo").disabled = !drawing.canRedo;
  });
}

function result({ id, colored, ms }) {
  network.putImageData(imageOf(colored, drawing.size), 0, 0);
  times = [...times, ms].slice(-RUNS_IN_MEDIAN);
  const median = times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)];
  $("network-ms").textContent = milliseconds(median);
  $("network").dataset.ms = String(ms);
  $("network").dataset.revision = String(id);
  $("download").disabled = false;
  $("network").dataset.name = pictureNames.get(id);
  for (const older of pictureNames.keys()) {
    if (older < id) pictureNames.delete(older);
  }
}

function milliseconds(ms) {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

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
    `${proof.values.toLocaleString("en")} values were equal to PyTorch's when it was exported; its golden sample is repeated here ` +
    `${goldenDifference === 0 ? "exactly" : `with a mean difference of ${goldenDifference.toFixed(4)} levels`}. ` +
    `Graph ${contract.graph_sha256.slice(0, 12)}.`;
  if (drawing.size !== contract.training_size) {
    const untouched = drawing.pixels().every((value, index) => value === initial[index]);
    const scale = contract.training_size / drawing.size;
    place = { x: place.x * scale, y: place.y * scale };
    for (const canvas of [$("network"), $("flood")]) canvas.width = canvas.height = contract.training_size;
    drawing.resize(contract.training_size);
    if (untouched) drawing.replace(EXAMPLES[0].draw); // drawn anew, the example is sharper than scaled
    showCursor();
  }
  offerColors();
  changed();
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

function sayOfFile(text) {
  $("file-message").hidden = text === "";
  $("file-message").textContent = text;
}

function offerWays() {
  $("way").replaceChildren(...ways.map(({ label }) => new Option(label)));
  $("way").disabled = ways.length < 2;
}

// ---- colors

function takesIndex() {
  return contract !== null && contract.conditioning !== "rgb";
}

function offerColors() {
  $("any-color").hidden = takesIndex();
  const names = takesIndex() ? contract.palette.map(([name]) => name) : SWATCHES;
  const values = takesIndex() ? contract.palette.map(([, value]) => value) : SWATCHES.map(parseColor);
  const buttons = names.map((name, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "swatch";
    button.title = name;
    button.setAttribute("aria-label", name);
    button.style.backgroundColor = hexOf(values[index]);
    button.addEventListener("click", () => choose(name, values[index], index));
    return button;
  });
  $("swatches").replaceChildren(...buttons);
  if (takesIndex()) choose(names[chosen], values[chosen], chosen);
  else choose(shownName, rgb, 0);
}

function choose(name, value, index) {
  rgb = value;
  chosen = index;
  shownName = name;
  $("color").value = hexOf(value);
  $("color-text").value = name;
  explainColor("");
  for (const button of $("swatches").children) {
    button.setAttribute("aria-pressed", String(button.title === name));
  }
  changed();
}

function explainColor(text) {
  $("color-text").setCustomValidity(text);
  $("color-text").setAttribute("aria-invalid", String(text !== ""));
  $("color-message").textContent = text;
}

$("color").addEventListener("input", () => choose($("color").value, parseColor($("color").value), 0));
$("color-text").addEventListener("input", () => {
  const text = $("color-text").value;
  const value = parseColor(text);
  if (value === null) {
    explainColor("not a CSS color, or one with transparency");
  } else {
    const caret = $("color-text").selectionStart;
    choose(text, value, 0);
    $("color-text").setSelectionRange(caret, caret);
  }
});

// ---- tools

for (const radio of document.querySelectorAll("input[name=tool]")) {
  radio.addEventListener("change", () => {
    drawing.tool = radio.value;
    showCursor();
  });
}

function takeTool(name) {
  const radio = document.querySelector(`input[name=tool][value=${name}]`);
  radio.checked = true;
  radio.dispatchEvent(new Event("change"));
}

function setWidth(width) {
  const slider = $("width");
  slider.value = String(width);
  drawing.width = Number(slider.value);
  $("width-value").value = slider.value;
  showCursor();
}

$("width").addEventListener("input", () => setWidth($("width").value));
$("undo").addEventListener("click", () => drawing.undo());
$("redo").addEventListener("click", () => drawing.redo());
$("clear").addEventListener("click", () => drawing.clear());

EXAMPLES.forEach(({ name, draw }, index) => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 96;
  const context = canvas.getContext("2d", { alpha: false });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, 96, 96);
  draw(context, 96);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "example";
  button.title = `${name} (${index + 1})`;
  button.setAttribute("aria-label", name);
  button.append(canvas);
  button.addEventListener("click", () => example(index));
  $("examples").append(button);
});

function example(index) {
  drawing.replace(EXAMPLES[index].draw);
}

// ---- the position of the tool, for pointers and for the keyboard

let place = { x: drawing.size / 2, y: drawing.size / 2 };

function showCursor() {
  const cursor = $("cursor");
  const scale = 100 / drawing.size;
  cursor.style.width = cursor.style.height = `${drawing.reach * scale}%`;
  cursor.style.left = `${place.x * scale}%`;
  cursor.style.top = `${place.y * scale}%`;
  cursor.classList.toggle("down", drawing.pressed);
}

for (const kind of ["pointerdown", "pointermove", "pointerup"]) {
  $("drawing").addEventListener(kind, (event) => {
    place = drawing.at(event);
    $("cursor").hidden = event.pointerType === "touch";
    showCursor();
  });
}
$("drawing").addEventListener("pointerleave", () => {
  $("cursor").hidden = document.activeElement !== $("drawing");
});
$("drawing").addEventListener("focus", () => {
  if ($("drawing").matches(":focus-visible")) $("cursor").hidden = false; // focused with the keyboard
  showCursor();
});
$("drawing").addEventListener("blur", () => {
  $("cursor").hidden = true;
  drawing.lift();
});

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

$("drawing").addEventListener("keydown", (event) => {
  const arrow = ARROWS[event.key];
  if (arrow !== undefined && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const step = event.shiftKey ? 8 : 1;
    const within = (value) => Math.min(drawing.size, Math.max(0, value));
    place = { x: within(place.x + step * arrow[0]), y: within(place.y + step * arrow[1]) };
    drawing.drag(place);
    $("cursor").hidden = false;
    showCursor();
  } else if (event.key === " ") {
    if (event.repeat) return event.preventDefault();
    if (drawing.pressed) drawing.lift();
    else drawing.press(place);
    $("pen").textContent = drawing.pressed ? "down" : "up";
    $("cursor").hidden = false;
    showCursor();
  } else if (event.key === "Escape") {
    drawing.lift();
    $("pen").textContent = "up";
    showCursor();
  } else {
    return;
  }
  event.preventDefault();
});

// ---- keys that work everywhere except in text fields

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.isComposing || event.target.closest("input[type=text], input[type=color], select")) return;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z" && event.shiftKey) drawing.redo();
    else if (key === "z") drawing.undo();
    else if (key === "y") drawing.redo();
    else return;
  } else if (/^[1-9]$/.test(key) && EXAMPLES[Number(key) - 1] !== undefined) {
    example(Number(key) - 1);
  } else if (key === "p" || key === "e" || key === "g") {
    takeTool({ p: "pen", e: "eraser", g: "gap" }[key]);
  } else if (key === "[" || key === "]") {
    setWidth(drawing.width + (key === "]" ? 0.5 : -0.5));
  } else if (key === "delete" || key === "backspace") {
    drawing.clear();
  } else if (key === "s" && !event.repeat && !$("download").disabled) {
    download(network.canvas, $("network").dataset.name);
  } else {
    return;
  }
  event.preventDefault();
});

// ---- opening and saving files

async function open(file) {
  if (file === undefined || file === null) return;
  opened += 1;
  const mine = opened;
  const name = file.name || "the image";
  if (file.size > MAX_IMAGE_FILE_BYTES) {
    sayOfFile(`${name} has more than ${MAX_IMAGE_FILE_BYTES / 2 ** 20} MiB. Open a smaller image.`);
    return;
  }
  let bitmap = null;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    if (mine === opened) sayOfFile(`${name} is not an image that this browser can read. Open a PNG, JPEG, WebP or GIF.`);
  }
  if (bitmap === null || mine !== opened) return;
  sayOfFile("");
  drawing.replace((context, size) => {
    const [width, height] = fittedSize(bitmap.width, bitmap.height, size);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, Math.floor((size - width) / 2), Math.floor((size - height) / 2), width, height);
  });
  bitmap.close();
}

function download(canvas, name) {
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }, "image/png");
}

function fileName() {
  return `colored-${takesIndex() ? shownName : hexOf(rgb).slice(1)}.png`;
}

$("file").addEventListener("change", () => {
  open($("file").files[0]);
  $("file").value = ""; // opening the same file again counts as a change, too
});
$("download").addEventListener("click", () => download(network.canvas, $("network").dataset.name));
$("download-drawing").addEventListener("click", () => download(drawing.canvas, "drawing.png"));

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("paper").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) $("paper").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("paper").classList.remove("over");
  open(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => open(event.clipboardData.files[0]));

// ---- start

example(0);
const initial = drawing.pixels();
showCursor();
offerColors();
waysToRun().then((found) => {
  ways = found;
  offerWays();
  start(ways[0]);
});
$("way").addEventListener("change", () => start(ways[$("way").selectedIndex]));
