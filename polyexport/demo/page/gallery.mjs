/** Prepared drawings of the kinds that people make; docs/gallery.py draws them. */

/** @type {{file: string, name: string}[]} */
const DRAWINGS = [
  { file: "cut-gaps.png", name: "Cut gaps" },
  { file: "bitten-gaps.png", name: "Bitten gaps" },
  { file: "large-gap.png", name: "One large gap" },
  { file: "dashed.png", name: "Dashed outline" },
  { file: "lines-inside.png", name: "Lines inside" },
  { file: "letters-inside.png", name: "A letter inside" },
  { file: "open-lines.png", name: "Beside open lines" },
  { file: "page-edge.png", name: "Cut by the edge of the page" },
  { file: "photo.webp", name: "Photo of paper" },
  { file: "pencil.webp", name: "Pencil" },
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
