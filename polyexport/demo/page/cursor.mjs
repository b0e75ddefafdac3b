/** The position of the tool on the sheet, for pointers and for the keyboard. */

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 4; // of an arrow key, in parts of 512 of the sheet's longer side
const LARGE_STEP = 32; // with Shift

/** A ring as large as the tool's marks, which follows the pointer or is moved with arrow keys. */
export class Cursor {
  #drawing;
  #ring;
  #spoken;
  #place;

  /**
   * @param {import("./drawing.mjs").Drawing} drawing
   * @param {HTMLElement} ring is placed over the drawing's canvas
   * @param {HTMLElement} spoken live region that says whether the tool is down
   */
  constructor(drawing, ring, spoken) {
    this.#drawing = drawing;
    this.#ring = ring;
    this.#spoken = spoken;
    this.#place = { x: drawing.width / 2, y: drawing.height / 2 };
    const { canvas } = drawing;
    for (const kind of ["pointerdown", "pointermove", "pointerup"]) {
      canvas.addEventListener(kind, (event) => this.#follow(event));
    }
    canvas.addEventListener("pointerleave", () => {
      ring.hidden = document.activeElement !== canvas;
    });
    canvas.addEventListener("focus", () => {
      if (canvas.matches(":focus-visible")) ring.hidden = false; // focused with the keyboard
      this.show();
    });
    canvas.addEventListener("blur", () => {
      ring.hidden = true;
      drawing.lift();
    });
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show the ring in the size of the tool, where the tool is. */
  show() {
    const { width, height, reach, pressed } = this.#drawing;
    const place = { x: Math.min(width, this.#place.x), y: Math.min(height, this.#place.y) };
    this.#ring.style.width = `${(100 * reach) / width}%`;
    this.#ring.style.left = `${(100 * place.x) / width}%`;
    this.#ring.style.top = `${(100 * place.y) / height}%`;
    this.#ring.classList.toggle("down", pressed);
  }

  #follow(event) {
    this.#place = this.#drawing.at(event);
    this.#ring.hidden = event.pointerType === "touch";
    this.show();
  }

  #key(event) {
    const drawing = this.#drawing;
    const arrow = ARROWS[event.key];
    if (arrow !== undefined && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const step = (event.shiftKey ? LARGE_STEP : STEP) * drawing.unit;
      const { x, y } = this.#place;
      this.#place = {
        x: Math.min(drawing.width, Math.max(0, x + step * arrow[0])),
        y: Math.min(drawing.height, Math.max(0, y + step * arrow[1])),
      };
      drawing.drag(this.#place);
    } else if (event.key === " " || event.key === "Escape") {
      if (!event.repeat) this.#press(event.key === " " && !drawing.pressed);
    } else {
      return;
    }
    this.#ring.hidden = false;
    this.show();
    event.preventDefault();
  }

  #press(down) {
    if (down) this.#drawing.press(this.#place);
    else this.#drawing.lift();
    this.#spoken.textContent = down ? "down" : "up";
  }
}
