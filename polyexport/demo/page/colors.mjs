/** The choice of the fill's color: any CSS color, or one of the names that the model knows. */

import { hexOf, parseColor } from "./color.mjs";

const SWATCHES = ["tomato", "orange", "gold", "limegreen", "dodgerblue", "mediumpurple", "hotpink", "#222222"];

/** The controls of the color, which keep each other up to date. */
export class Colors {
  /** @type {[number, number, number]} sRGB, 0 to 255 */
  rgb = parseColor(SWATCHES[0]);

  #index = 0; // of the color in the model's palette
  #name = SWATCHES[0];
  #palette = null; // of the model, if it takes one of its own colors only
  #parts;
  #onChange;

  /**
   * @param {Record<"any" | "picker" | "text" | "problem" | "swatches", HTMLElement>} parts the field set for any color, its
   *   color picker, text field and message, and the row of swatches
   * @param {() => void} onChange called after every choice
   */
  constructor(parts, onChange) {
    this.#parts = parts;
    this.#onChange = onChange;
    parts.picker.addEventListener("input", () => this.#choose(parts.picker.value, parseColor(parts.picker.value), 0));
    parts.text.addEventListener("input", () => this.#typed());
  }

  /**
   * Offer the colors that a model takes.
   *
   * @param {object | null} entries of its condition that is a color; null offers all colors
   */
  offer(entries) {
    this.#palette = entries === null || entries.conditioning === "rgb" ? null : entries.palette;
    this.#parts.any.hidden = this.#palette !== null;
    const offered = this.#palette ?? SWATCHES.map((name) => [name, parseColor(name)]);
    const buttons = offered.map(([name, rgb], index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "swatch";
      button.title = name;
      button.setAttribute("aria-label", name);
      button.style.backgroundColor = hexOf(rgb);
      button.addEventListener("click", () => this.#choose(name, rgb, index));
      return button;
    });
    this.#parts.swatches.replaceChildren(...buttons);
    if (this.#palette === null) this.#choose(this.#name, this.rgb, 0);
    else this.#choose(...(offered[this.#index] ?? offered[0]), this.#index);
  }

  /** The color as the network takes it: sRGB, or its index in the model's palette. */
  get condition() {
    return this.#palette === null ? this.rgb : this.#index;
  }

  /** Name of the picture in this color. */
  get fileName() {
    return `colored-${this.#palette === null ? hexOf(this.rgb).slice(1) : this.#name}.png`;
  }

  #choose(name, rgb, index) {
    const { picker, text, swatches } = this.#parts;
    this.rgb = rgb;
    this.#index = index;
    this.#name = name;
    picker.value = hexOf(rgb);
    text.value = name;
    this.#explain("");
    for (const button of swatches.children) button.setAttribute("aria-pressed", String(button.title === name));
    this.#onChange();
  }

  #typed() {
    const { text } = this.#parts;
    const rgb = parseColor(text.value);
    if (rgb === null) {
      this.#explain("not a CSS color, or one with transparency");
      return;
    }
    const caret = text.selectionStart;
    this.#choose(text.value, rgb, 0);
    text.setSelectionRange(caret, caret);
  }

  #explain(problem) {
    const { text } = this.#parts;
    text.setCustomValidity(problem);
    text.setAttribute("aria-invalid", String(problem !== ""));
    this.#parts.problem.textContent = problem;
  }
}
