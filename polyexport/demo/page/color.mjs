/** What a person types for a color -> sRGB, as the browser understands CSS. */

const probe = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });

/**
 * @param {string} text any CSS color without transparency
 * @returns {[number, number, number] | null} sRGB, 0 to 255; null if it is none
 */
export function parseColor(text) {
  if (/currentcolor/i.test(text)) return null;
  // What a canvas cannot read, such as var(), leaves the color that was there: any two tell.
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
 * @param {[number, number, number]} rgb 0 to 255
 * @returns {string} #rrggbb
 */
export function hexOf(rgb) {
  return `#${rgb.map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;
}
