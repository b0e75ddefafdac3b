/** Example outlines: some that a flood fill can fill, and some that it cannot. */

const FULL = 2 * Math.PI;

/**
 * @typedef {object} Example
 * @property {string} name
 * @property {(context: CanvasRenderingContext2D, size: number) => void} draw draws it in black on a white sheet
 */

/** @type {Example[]} */
export const EXAMPLES = [
  example("Broken square", { gaps: [0.19, 0.6] }, polygon(4, 0.36, FULL / 8)),
  example("Star", {}, star(5, 0.42, 0.18)),
  example("Broken star", { gaps: [0.07, 0.37, 0.71] }, star(5, 0.42, 0.18)),
  example("Triangle with open corners", { gaps: [0.0, 0.333, 0.666], gap: 0.045 }, polygon(3, 0.42, -FULL / 4)),
  example("Octagon", {}, polygon(8, 0.4, FULL / 16)),
  example("Dashed circle", { dash: [0.075, 0.03] }, polygon(90, 0.38, 0)),
  example("Thick blob", { width: 0.055, gaps: [0.4] }, blob),
  example("Dusty heart", { gaps: [0.3], dust: 90 }, heart),
];

/**
 * Build an example.
 *
 * @param {string} name
 * @param {{width?: number, gaps?: number[], gap?: number, dash?: number[], dust?: number}} style width of the
 *   stroke and lengths of dashes, as fractions of the sheet's size; positions of gaps and their length, as fractions of
 *   the outline; number of specks
 * @param {() => [number, number][]} outline points from 0 to 1, closed
 * @returns {Example}
 */
function example(name, { width = 0.018, gaps = [], gap = 0.03, dash = [], dust = 0 }, outline) {
  return {
    name,
    draw(context, size) {
      const points = outline().map(([x, y]) => [x * size, y * size]);
      const length = perimeter(points);
      context.save();
      context.strokeStyle = context.fillStyle = "#000";
      context.lineWidth = Math.max(1, width * size);
      context.lineJoin = "round";
      if (gaps.length > 0) context.setLineDash(dashes(gaps, gap, length));
      else context.setLineDash(dash.map((part) => part * size));
      context.beginPath();
      for (const [x, y] of points) context.lineTo(x, y);
      context.closePath();
      context.stroke();
      for (const [x, y] of specks(dust)) context.fillRect(Math.round(x * size), Math.round(y * size), 1, 1);
      context.restore();
    },
  };
}

/** Lengths of ink and gaps in turn, pixels, from the start of an outline to its end. */
function dashes(gaps, gap, length) {
  const pattern = [];
  let at = 0;
  for (const from of [...gaps].sort((a, b) => a - b)) {
    pattern.push((from - at) * length, gap * length);
    at = from + gap;
  }
  return [...pattern, (1 - at) * length, 0];
}

function perimeter(points) {
  return points.reduce((sum, [x, y], index) => {
    const [fromX, fromY] = points.at(index - 1);
    return sum + Math.hypot(x - fromX, y - fromY);
  }, 0);
}

function polygon(corners, radius, turn) {
  return () =>
    Array.from({ length: corners }, (_, corner) => {
      const angle = turn + (corner / corners) * FULL;
      return [0.5 + radius * Math.cos(angle), 0.5 + radius * Math.sin(angle)];
    });
}

function star(points, outer, inner) {
  return () =>
    Array.from({ length: 2 * points }, (_, corner) => {
      const angle = (corner / (2 * points)) * FULL - FULL / 4;
      const radius = corner % 2 === 0 ? outer : inner;
      return [0.5 + radius * Math.cos(angle), 0.53 + radius * Math.sin(angle)];
    });
}

function blob() {
  return Array.from({ length: 120 }, (_, step) => {
    const angle = (step / 120) * FULL;
    const radius = 0.31 + 0.06 * Math.sin(3 * angle + 1) + 0.035 * Math.sin(5 * angle);
    return [0.5 + radius * Math.cos(angle), 0.5 + radius * Math.sin(angle)];
  });
}

function heart() {
  return Array.from({ length: 120 }, (_, step) => {
    const t = (step / 120) * FULL;
    const x = 16 * Math.sin(t) ** 3;
    const y = 13 * Math.cos(t) - 5 * Math.cos(2 * t) - 2 * Math.cos(3 * t) - Math.cos(4 * t);
    return [0.5 + 0.024 * x, 0.47 - 0.024 * y];
  });
}

/** Positions of specks, the same ones every time (linear congruential generator, Numerical Recipes, section 7.1). */
function specks(count) {
  let state = 7;
  const next = () => {
    state = (1664525 * state + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
  return Array.from({ length: count }, () => [next(), next()]);
}
