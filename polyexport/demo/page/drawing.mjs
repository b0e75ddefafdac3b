/** The sheet: drawing with mouse, pen, finger or keyboard, with undo and redo. */

import { CONTEXT, rgbOf } from "./pixels.mjs";

export const SHEET = 512; // height and width of an empty sheet, pixels
const MAX_UNDO_BYTES = 96 * 1024 * 1024; // 96 steps of an empty sheet's size
const BLACK_ON_WHITE = { ink: "#000", paper: "#fff" };
const ERASER_END = 5; // button of a pen turned around (Pointer Events, 10.1.1.2)

/** @typedef {"pen" | "eraser" | "gap"} Tool */

/** A canvas to draw on; its pixels are what the network fills. */
export class Drawing {
  /** @type {Tool} */
  tool = "pen";
  /** Width of the pen, in parts of 512 of the sheet's longer side. */
  penWidth = 6;

  #canvas;
  #context;
  #onChange;
  #look;
  #undone = [];
  #done = [];
  #last = null; // end of the stroke so far
  #pointer = null; // id of the pointer that draws the stroke
  #isEraserEnd = false; // whether the stroke is one of a pen turned around
  #sinceGap = 0; // length of the stroke since its last gap, pixels

  /**
   * @param {HTMLCanvasElement} canvas receives the pointer events
   * @param {() => void} onChange called after every change
   * @param {{ink?: string, paper?: string}} look CSS colors of strokes and of an empty sheet
   */
  constructor(canvas, onChange, look = {}) {
    this.#look = { ...BLACK_ON_WHITE, ...look };
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", CONTEXT);
    this.#onChange = onChange;
    this.#empty(SHEET, SHEET);
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(end, ({ pointerId }) => {
        if (pointerId === this.#pointer) this.lift(); // another finger that is lifted does not end the stroke
      });
    }
  }

  get canvas() {
    return this.#canvas;
  }

  get width() {
    return this.#canvas.width;
  }

  get height() {
    return this.#canvas.height;
  }

  /** Pixels of the sheet that are one of 512 parts of its longer side. */
  get unit() {
    return Math.max(this.width, this.height) / SHEET;
  }

  /** @returns {Uint8Array} the drawing, RGB [height, width, 3] */
  pixels() {
    return rgbOf(this.#snapshot());
  }

  /** Take an empty sheet. */
  clear() {
    this.replace(SHEET, SHEET, () => {});
  }

  /**
   * Replace the drawing.
   *
   * @param {number} width pixels of the new sheet
   * @param {number} height pixels of the new sheet
   * @param {(context: CanvasRenderingContext2D) => void} draw draws on the empty sheet
   */
  replace(width, height, draw) {
    this.lift();
    this.#remember();
    this.#empty(width, height);
    draw(this.#context);
    this.#onChange();
  }

  undo() {
    this.#travel(this.#done, this.#undone);
  }

  redo() {
    this.#travel(this.#undone, this.#done);
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** Diameter of the tool's marks, pixels of the sheet. */
  get reach() {
    const pen = this.penWidth;
    return { pen, eraser: Math.max(20, 3 * pen), gap: Math.max(20, 2.5 * pen) }[this.#toolInUse] * this.unit;
  }

  get #toolInUse() {
    return this.#isEraserEnd ? "eraser" : this.tool;
  }

  /** Begin a stroke at a point {x, y}, in pixels of the sheet. */
  press(point) {
    this.#remember();
    this.#last = point;
    this.#sinceGap = 0;
    this.#dot(point);
    this.#onChange();
  }

  /** Continue the stroke to a point, if a stroke was begun. */
  drag(point) {
    if (this.#last === null) return;
    if (this.#toolInUse === "gap") this.#gaps(this.#last, point);
    else this.#line(this.#last, point);
    this.#last = point;
    this.#onChange();
  }

  lift() {
    this.#last = null;
    this.#pointer = null;
    this.#isEraserEnd = false;
  }

  get pressed() {
    return this.#last !== null;
  }

  /** @returns {{x: number, y: number}} position of a pointer event, in pixels of the sheet */
  at({ clientX, clientY }) {
    const box = this.#canvas.getBoundingClientRect();
    return { x: ((clientX - box.left) / box.width) * this.width, y: ((clientY - box.top) / box.height) * this.height };
  }

  #down(event) {
    if ((event.button !== 0 && event.button !== ERASER_END) || !event.isPrimary) return;
    event.preventDefault(); // no selection, no scrolling
    this.#canvas.focus({ preventScroll: true });
    this.#canvas.setPointerCapture(event.pointerId);
    this.lift();
    this.#isEraserEnd = event.button === ERASER_END;
    this.press(this.at(event));
    this.#pointer = event.pointerId;
  }

  #move(event) {
    if (!this.pressed || event.pointerId !== this.#pointer) return;
    const between = event.getCoalescedEvents?.() ?? [];
    for (const each of between.length > 0 ? between : [event]) this.drag(this.at(each));
  }

  #line(from, to) {
    const context = this.#context;
    context.strokeStyle = this.#mark;
    context.lineWidth = this.reach;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    context.stroke();
  }

  get #mark() {
    return this.#toolInUse === "pen" ? this.#look.ink : this.#look.paper;
  }

  #dot({ x, y }) {
    this.#context.fillStyle = this.#mark;
    this.#context.beginPath();
    this.#context.arc(x, y, this.reach / 2, 0, 2 * Math.PI);
    this.#context.fill();
  }

  /** Erase dots at equal distances along a line, which leave gaps in an outline. */
  #gaps(from, to) {
    const length = Math.hypot(to.x - from.x, to.y - from.y);
    const every = (SHEET / 8) * this.unit;
    for (let next = every - this.#sinceGap; next <= length; next += every) {
      const part = next / length;
      this.#dot({ x: from.x + part * (to.x - from.x), y: from.y + part * (to.y - from.y) });
    }
    this.#sinceGap = (this.#sinceGap + length) % every;
  }

  #empty(width, height) {
    this.#resize(width, height);
    this.#context.fillStyle = this.#look.paper;
    this.#context.fillRect(0, 0, width, height);
  }

  #resize(width, height) {
    if (this.width === width && this.height === height) return;
    this.#canvas.width = width;
    this.#canvas.height = height;
  }

  #snapshot() {
    return this.#context.getImageData(0, 0, this.width, this.height);
  }

  #remember() {
    this.#done.push(this.#snapshot());
    let bytes = this.#done.reduce((sum, { data }) => sum + data.length, 0);
    while (bytes > MAX_UNDO_BYTES) bytes -= this.#done.shift().data.length;
    this.#undone = [];
  }

  #travel(from, to) {
    if (from.length === 0) return;
    this.lift();
    to.push(this.#snapshot());
    const image = from.pop();
    this.#resize(image.width, image.height);
    this.#context.putImageData(image, 0, 0);
    this.#onChange();
  }
}
