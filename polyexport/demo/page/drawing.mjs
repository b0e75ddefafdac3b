/** The sheet: drawing with mouse, pen, finger or keyboard, with undo and redo. */

import { CONTEXT, rgbOf } from "./pixels.mjs";

const MAX_UNDO_STEPS = 60;
const INK = "#000";
const PAPER = "#fff";

/** @typedef {"pen" | "eraser" | "gap"} Tool */

/** A square canvas to draw on; its pixels are the network's input. */
export class Drawing {
  /** @type {Tool} */
  tool = "pen";
  /** Width of the pen, pixels of the sheet. */
  width = 2;

  #canvas;
  #context;
  #onChange;
  #undone = [];
  #done = [];
  #last = null; // end of the stroke so far
  #pointer = null; // id of the pointer that draws the stroke
  #sinceGap = 0; // length of the stroke since its last gap, pixels

  /**
   * @param {HTMLCanvasElement} canvas receives the pointer events
   * @param {() => void} onChange called after every change
   */
  constructor(canvas, onChange) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", CONTEXT);
    this.#onChange = onChange;
    this.clear({ remember: false });
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

  get size() {
    return this.#canvas.width;
  }

  /** Change the size of the sheet, and scale the drawing on it. */
  resize(size) {
    const before = new OffscreenCanvas(this.size, this.size);
    before.getContext("2d").putImageData(this.#snapshot(), 0, 0);
    this.lift();
    this.#canvas.width = this.#canvas.height = size;
    this.#done = [];
    this.#undone = [];
    this.#context.imageSmoothingQuality = "high";
    this.#context.drawImage(before, 0, 0, size, size);
    this.#onChange();
  }

  /** @returns {Uint8Array} the drawing, RGB [size, size, 3] */
  pixels() {
    return rgbOf(this.#context.getImageData(0, 0, this.size, this.size));
  }

  clear({ remember = true } = {}) {
    this.lift();
    if (remember) this.#remember();
    this.#context.fillStyle = PAPER;
    this.#context.fillRect(0, 0, this.size, this.size);
    this.#onChange();
  }

  /**
   * Replace the drawing.
   *
   * @param {(context: CanvasRenderingContext2D, size: number) => void} draw draws on a white sheet
   */
  replace(draw) {
    this.lift();
    this.#remember();
    this.#context.fillStyle = PAPER;
    this.#context.fillRect(0, 0, this.size, this.size);
    draw(this.#context, this.size);
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

  /** Width of the tool's marks, pixels of the sheet. */
  get reach() {
    return { pen: this.width, eraser: Math.max(6, 3 * this.width), gap: Math.max(5, 2.5 * this.width) }[this.tool];
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
    if (this.tool === "gap") this.#gaps(this.#last, point);
    else this.#line(this.#last, point);
    this.#last = point;
    this.#onChange();
  }

  lift() {
    this.#last = null;
    this.#pointer = null;
  }

  get pressed() {
    return this.#last !== null;
  }

  /** @returns {{x: number, y: number}} position of a pointer event, in pixels of the sheet */
  at({ clientX, clientY }) {
    const box = this.#canvas.getBoundingClientRect();
    return { x: ((clientX - box.left) / box.width) * this.size, y: ((clientY - box.top) / box.height) * this.size };
  }

  #down(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    event.preventDefault(); // no selection, no scrolling
    this.#canvas.focus({ preventScroll: true });
    this.#canvas.setPointerCapture(event.pointerId);
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
    return this.tool === "pen" ? INK : PAPER;
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
    const every = this.size / 8;
    for (let next = every - this.#sinceGap; next <= length; next += every) {
      const part = next / length;
      this.#dot({ x: from.x + part * (to.x - from.x), y: from.y + part * (to.y - from.y) });
    }
    this.#sinceGap = (this.#sinceGap + length) % every;
  }

  #snapshot() {
    return this.#context.getImageData(0, 0, this.size, this.size);
  }

  #remember() {
    this.#done.push(this.#snapshot());
    if (this.#done.length > MAX_UNDO_STEPS) this.#done.shift();
    this.#undone = [];
  }

  #travel(from, to) {
    if (from.length === 0) return;
    this.lift();
    to.push(this.#snapshot());
    this.#context.putImageData(from.pop(), 0, 0);
    this.#onChange();
  }
}
