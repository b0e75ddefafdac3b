/** Files that come to the page and leave it: dropped, pasted, chosen and saved. */

/**
 * Call a function with every file that is dropped, pasted or chosen.
 *
 * @param {HTMLInputElement} input a file input
 * @param {HTMLElement} target is marked while something is dragged over the page
 * @param {(file: File | null) => void} take null if something was dropped that is not a file
 */
export function listenForFiles(input, target, take) {
  input.addEventListener("change", () => {
    if (input.files.length > 0) take(input.files[0]);
    input.value = ""; // opening the same file again counts as a change, too
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    target.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) target.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    target.classList.remove("over");
    take(event.dataTransfer?.files[0] ?? null);
  });
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file !== undefined) take(file);
  });
}

/**
 * Save a canvas as a PNG file, in the size of its pixels.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {string} name of the file
 */
export function download(canvas, name) {
  canvas.toBlob((blob) => save(blob, name), "image/png");
}

/**
 * Save a file.
 *
 * @param {Blob} blob its content
 * @param {string} name of the file
 */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
