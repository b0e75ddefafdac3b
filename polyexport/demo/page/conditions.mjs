/** The controls of the conditions that a model takes beside the image, made from its contract. */

import { colorOf } from "./contract.mjs";
import { Drawing } from "./drawing.mjs";
import { NotAPicture, readPicture } from "./picture.mjs";
import { CONTEXT } from "./pixels.mjs";

const STEPS = 100; // of a slider whose range is not one of whole numbers
const WHOLE_RANGE = 10; // smallest range whose slider moves by whole numbers

/** The controls of all conditions, in the order of the contract. */
export class Conditions {
  #parts;
  #colors;
  #onChange;
  #controls = [];

  /**
   * @param {{fields: HTMLElement, panels: HTMLElement}} parts where the fields go, and the element that panels with second
   *   pictures are put before
   * @param {import("./colors.mjs").Colors} colors the controls of a color
   * @param {() => void} onChange called after every change
   */
  constructor(parts, colors, onChange) {
    this.#parts = parts;
    this.#colors = colors;
    this.#onChange = onChange;
  }

  /** Show the controls of a model. */
  offer(contract) {
    for (const control of this.#controls) control.element?.remove();
    this.#controls = contract.conditions.map((condition, index) => {
      const golden = contract.golden.values[index];
      if (condition.kind === "color") return new ColorChoice(this.#colors);
      if (condition.kind === "label") return new Choice(condition, this.#onChange);
      if (condition.kind === "number") return new Slider(condition, this.#onChange);
      if (condition.kind === "vector") return new Numbers(condition, golden, this.#onChange);
      return new SecondPicture(condition, this.#onChange);
    });
    const panels = this.pictures.map(({ element }) => element);
    const fields = this.#controls.map(({ element }) => element).filter((one) => one && !panels.includes(one));
    this.#parts.fields.replaceChildren(...fields);
    this.#parts.fields.hidden = fields.length === 0;
    this.#parts.panels.before(...panels);
    this.#colors.offer(colorOf(contract));
  }

  /** Values as the network takes them; null while one of them is none. */
  get values() {
    const values = this.#controls.map(({ value }) => value);
    return values.includes(null) ? null : values;
  }

  /** @returns {SecondPicture[]} the sheets of second pictures */
  get pictures() {
    return this.#controls.filter((control) => control instanceof SecondPicture);
  }

  /** Give every second picture the size of the drawing, and show the drawing beneath it. */
  follow(drawing) {
    for (const picture of this.pictures) picture.follow(drawing);
  }
}

class ColorChoice {
  element = null; // the page has its controls in any case
  #colors;

  constructor(colors) {
    this.#colors = colors;
  }

  get value() {
    return this.#colors.condition;
  }
}

/** One of the labels of a model. */
class Choice {
  #select;

  constructor({ name, labels, default: usual }, onChange) {
    this.#select = document.createElement("select");
    this.#select.name = name;
    this.#select.append(...labels.map((label) => new Option(label)));
    this.#select.selectedIndex = Math.max(0, labels.indexOf(usual));
    this.#select.addEventListener("change", onChange);
    this.element = field("label", name, this.#select);
  }

  get value() {
    return this.#select.selectedIndex;
  }
}

/** A number, as a slider and as text. */
class Slider {
  #number;

  constructor({ name, minimum, maximum, unit, default: usual }, onChange) {
    const range = maximum - minimum;
    const isWhole = range >= WHOLE_RANGE && Number.isInteger(minimum);
    const slider = input("range", { min: minimum, max: maximum, step: isWhole ? 1 : range / STEPS });
    const number = input("number", { min: minimum, max: maximum, step: "any", required: true });
    slider.value = number.value = String(usual ?? (isWhole ? Math.round(minimum + range / 2) : minimum + range / 2));
    slider.setAttribute("aria-label", name);
    number.name = name;
    slider.addEventListener("input", () => {
      number.value = slider.value;
      onChange();
    });
    number.addEventListener("input", () => {
      if (number.validity.valid) slider.value = number.value;
      onChange();
    });
    this.#number = number;
    this.element = field("label", name, slider, number, unit);
  }

  get value() {
    return this.#number.validity.valid ? this.#number.valueAsNumber : null;
  }
}

/** A vector, as text with commas; at first the default, or the one of the golden sample. */
class Numbers {
  #text;
  #dim;

  constructor({ name, dim, default: usual }, golden, onChange) {
    this.#dim = dim;
    this.#text = input("text", { spellcheck: false, autocomplete: "off" });
    this.#text.name = name;
    this.#text.value = [...(usual ?? vectorOf(golden))].join(", ");
    this.#text.addEventListener("input", () => {
      const problem = this.value === null ? `${dim} numbers with commas between them` : "";
      this.#text.setCustomValidity(problem);
      this.#text.title = problem;
      onChange();
    });
    this.element = field("label", name, this.#text);
  }

  get value() {
    const parts = this.#text.value.split(",");
    const numbers = Float32Array.from(parts, (part) => (part.trim() === "" ? NaN : Number(part)));
    return numbers.length === this.#dim && numbers.every(Number.isFinite) ? numbers : null;
  }
}

/** A second picture, such as a mask, to paint or to open; the drawing shows through it. */
export class SecondPicture {
  /** @type {Drawing} */
  sheet;

  #under;
  #note;
  #name;

  constructor({ name, channels }, onChange) {
    const isMask = channels === 1;
    this.#name = name;
    this.#under = document.createElement("canvas");
    const canvas = document.createElement("canvas");
    canvas.className = "over";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${name}, ${isMask ? "white where you paint" : "a picture"}`);
    canvas.dataset.condition = name;
    this.sheet = new Drawing(canvas, onChange, isMask ? { ink: "#fff", paper: "#000" } : {});
    const leaf = element("div", { className: "leaf" }, this.#under, canvas);
    const clear = element("button", { type: "button", textContent: "Clear" });
    clear.addEventListener("click", () => this.#blank(this.sheet.width, this.sheet.height));
    const file = input("file", { accept: "image/png,image/jpeg,image/webp,image/gif" });
    file.setAttribute("aria-label", `Open a picture for ${name}`);
    file.addEventListener("change", () => {
      if (file.files.length > 0) this.#open(file.files[0]);
      file.value = ""; // opening the same file again counts as a change, too
    });
    this.#note = element("p", { className: "note" });
    this.#note.setAttribute("role", "status");
    this.element = element(
      "section",
      { className: "panel second" },
      element("h2", { textContent: name }),
      element("div", { className: "paper" }, leaf),
      element("div", { className: "row" }, element("label", { className: "button" }, "Open…", file), clear),
      this.#note,
    );
  }

  /** @returns {Uint8Array} RGB, [height, width, 3] */
  get value() {
    return this.sheet.pixels();
  }

  follow(drawing) {
    const { width, height } = drawing;
    if (this.sheet.width !== width || this.sheet.height !== height) this.#blank(width, height);
    this.#under.width = width;
    this.#under.height = height;
    this.#under.getContext("2d", CONTEXT).drawImage(drawing.canvas, 0, 0);
  }

  #blank(width, height) {
    this.sheet.replace(width, height, () => {});
  }

  async #open(file) {
    try {
      const bitmap = await readPicture(file);
      const { width, height } = this.sheet;
      if (Math.abs(bitmap.width * height - bitmap.height * width) > Math.max(width, height)) {
        this.#note.textContent = `It has ${bitmap.width}x${bitmap.height} pixels, the drawing ${width}x${height}: give a picture of one shape.`;
        return;
      }
      this.#note.textContent = "";
      this.sheet.replace(width, height, (context) => context.drawImage(bitmap, 0, 0, width, height));
      bitmap.close();
    } catch (error) {
      if (!(error instanceof NotAPicture)) throw error;
      this.#note.textContent = error.message;
    }
  }
}

function vectorOf(golden) {
  return new Float32Array(Uint8Array.from(atob(golden), (character) => character.charCodeAt(0)).buffer);
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function field(tag, name, ...children) {
  return element(tag, { className: "width condition" }, `${name} `, ...children);
}

function input(type, properties) {
  return Object.assign(document.createElement("input"), { type, ...properties });
}
