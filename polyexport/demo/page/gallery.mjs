/** Prepared drawings of the kinds that people make; docs/gallery.py draws them. */

/** @type {{file: string, name: string}[]} */
const DRAWINGS = [
  { file: "cut_gaps.png", name: "Cut gaps" },
  { file: "bitten_gaps.png", name: "Bitten gaps" },
  { file: "large_gaps.png", name: "One large gap" },
  { file: "dashed.png", name: "Dashed outline" },
  { file: "details.png", name: "Lines inside" },
  { file: "glyphs.png", name: "A letter" },
  { file: "open_lines.png", name: "Beside open lines" },
  { file: "border.png", name: "Cut by the edge of the page" },
  { file: "photo.webp", name: "Photo of paper" },
  { file: "pencil.webp", name: "Pencil, scanned" },
];

/**
 * Build the buttons of the gallery.
 *
 * @param {(index: number) => void} onChoose called with the place of a drawing
 * @returns {HTMLButtonElement[]} with a picture each, in order; keys 1 to 9 and 0 choose them
 */
export function galleryButtons(onChoose) {
  return DRAWINGS.map(({ file, name }, index) => {
    const picture = new Image();
    picture.src = `gallery/${file}`;
    picture.alt = "";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "example";
    button.title = `${name} (${(index + 1) % 10})`;
    button.setAttribute("aria-label", name);
    button.append(picture);
    button.addEventListener("click", () => onChoose(index));
    return button;
  });
}

/**
 * Wait for the picture of a button.
 *
 * @param {HTMLButtonElement} button
 * @returns {Promise<HTMLImageElement | null>} null if its file cannot be fetched
 */
export async function pictureOf(button) {
  const picture = button.firstElementChild;
  return picture.decode().then(
    () => picture,
    () => null,
  );
}
