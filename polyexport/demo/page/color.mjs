/** Conversion of CSS colors to sRGB, by the browser's own parser. */

const probe = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });

/**
 * Parse a color that a person typed.
 *
 * @param {string} text any CSS color without transparency
 * @returns {[number, number, number] | null} sRGB, 0 to 255; null if the text is not such a color
 */
export function parseColor(text) {
  if (/currentcolor/i.test(text)) return null;
  // A canvas that cannot read a color, such as var(), keeps its earlier one, so the text is tried after two colors.
  const [first, second] = ["#000", "#fff"].map((before) => {
    probe.clearRect(0, 0, 1, 1);
    probe.fillStyle = before;
    probe.fillStyle = text;
    probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data];
  });
  return first.every((value, index) => value === second[index]) && first[3] === 255 ? first.slice(0, 3) : null;
}

/**
 * Write a color in hexadecimal.
 *
 * @param {[number, number, number]} rgb 0 to 255
 * @returns {string} #rrggbb
 */
export function hexOf(rgb) {
  return `#${rgb.map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;
}
