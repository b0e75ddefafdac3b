/**
 * Fill a drawing without a network: every pixel that cannot be reached from the border gets the color.
 *
 * A pixel darker than middle gray is ink; other pixels are connected along their edges, not their corners.
 *
 * @param {Uint8Array} image RGB, [size, size, 3]
 * @param {number} size height and width, pixels
 * @param {[number, number, number]} rgb 0 to 255
 * @returns {Uint8Array} RGB, [size, size, 3]: the outline and what it encloses, on white
 */
export function floodFill(image, size, rgb) {
  const outside = new Uint8Array(size * size);
  const stack = [];
  const visit = (index) => {
    if (outside[index] === 0 && image[3 * index] + image[3 * index + 1] + image[3 * index + 2] >= 3 * 128) {
      outside[index] = 1;
      stack.push(index);
    }
  };
  for (let step = 0; step < size; step += 1) {
    visit(step);
    visit((size - 1) * size + step);
    visit(step * size);
    visit(step * size + size - 1);
  }
  while (stack.length > 0) {
    const index = stack.pop();
    const column = index % size;
    if (column > 0) visit(index - 1);
    if (column < size - 1) visit(index + 1);
    if (index >= size) visit(index - size);
    if (index < size * (size - 1)) visit(index + size);
  }
  const filled = new Uint8Array(3 * size * size).fill(255);
  for (let index = 0; index < size * size; index += 1) {
    if (outside[index] === 0) filled.set(rgb, 3 * index);
  }
  return filled;
}
