/** What a person types for a color -> sRGB, as the browser understands CSS. */

const probe = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });

/**
 * @param {string} text any CSS color without transparency
 * @returns {[number, number, number] | null} sRGB, 0 to 255; null if it is none
 */
export function parseColor(text) {
  if (!CSS.supports("color", text) || /^\s*(currentcolor|inherit|initial|unset|revert(-layer)?)\s*$/i.test(text)) {
    return null;
  }
  probe.clearRect(0, 0, 1, 1);
  probe.fillStyle = text;
  probe.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = probe.getImageData(0, 0, 1, 1).data;
  return alpha === 255 ? [red, green, blue] : null;
}

/**
 * @param {[number, number, number]} rgb 0 to 255
 * @returns {string} #rrggbb
 */
export function hexOf(rgb) {
  return `#${rgb.map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;
}
