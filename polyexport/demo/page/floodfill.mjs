/**
 * Fill a drawing without a network: every pixel that cannot be reached from the border gets the color.
 *
 * A pixel darker than middle gray is ink; other pixels are connected along their edges, not their corners.
 *
 * @param {Uint8Array} image RGB, [height, width, 3]
 * @param {number} width pixels
 * @param {number} height pixels
 * @param {[number, number, number]} rgb 0 to 255
 * @returns {Uint8Array} RGB, [height, width, 3]: the outline and what it encloses, on white
 */
export function floodFill(image, width, height, rgb) {
  const count = width * height;
  const outside = new Uint8Array(count);
  const stack = new Int32Array(count); // no pixel is put there twice
  let top = 0;
  const visit = (index) => {
    if (outside[index] === 0 && image[3 * index] + image[3 * index + 1] + image[3 * index + 2] >= 3 * 128) {
      outside[index] = 1;
      stack[top] = index;
      top += 1;
    }
  };
  for (let column = 0; column < width; column += 1) {
    visit(column);
    visit(count - width + column);
  }
  for (let row = 0; row < height; row += 1) {
    visit(row * width);
    visit(row * width + width - 1);
  }
  while (top > 0) {
    top -= 1;
    const index = stack[top];
    const column = index % width;
    if (column > 0) visit(index - 1);
    if (column < width - 1) visit(index + 1);
    if (index >= width) visit(index - width);
    if (index < count - width) visit(index + width);
  }
  const filled = new Uint8Array(3 * count).fill(255);
  const [red, green, blue] = rgb;
  for (let index = 0, to = 0; index < count; index += 1, to += 3) {
    if (outside[index] === 1) continue;
    filled[to] = red;
    filled[to + 1] = green;
    filled[to + 2] = blue;
  }
  return filled;
}
