/* From masses to pixels. Colour and opacity both follow the level between the ends of the scale. */
function sized(canvas, ratio, long) {
  canvas.width = Math.max(1, Math.round(ratio >= 1 ? long : long * ratio));
  canvas.height = Math.max(1, Math.round(ratio >= 1 ? long / ratio : long));
  const context = canvas.getContext("2d");
  return { context, image: context.createImageData(canvas.width, canvas.height) };
}

function colorize(pixels, i, table, index, opacity) {
  pixels[4 * i] = table[3 * index];
  pixels[4 * i + 1] = table[3 * index + 1];
  pixels[4 * i + 2] = table[3 * index + 2];
  pixels[4 * i + 3] = 255 * opacity;
}

function paint(canvas, source, table, ratio, long, alpha, [low, top]) {
  const { context, image } = sized(canvas, ratio, long);
  const masses = stretched(source, canvas.height, canvas.width), gain = top > low ? 1 / (top - low) : 0;
  for (let i = 0; i < masses.length; i++) {
    const level = clamp(gain * (masses[i] - low));
    colorize(image.data, i, table, Math.round(255 * level), alpha * level);
  }
  context.putImageData(image, 0, 0);
}

/* `after` less `before`; what changed by `most` or more has the full colour. */
function paintDifference(canvas, before, after, table, ratio, long, alpha, most) {
  const { context, image } = sized(canvas, ratio, long);
  const [first, second] = [before, after].map((each) => stretched(each, canvas.height, canvas.width));
  const gain = most > 0 ? 1 / most : 0;
  for (let i = 0; i < first.length; i++) {
    const level = clamp(gain * (second[i] - first[i]), -1, 1);
    colorize(image.data, i, table, Math.round(127.5 * (1 + level)), alpha * Math.cbrt(Math.abs(level)));
  }
  context.putImageData(image, 0, 0);
}

/* The largest change anywhere, on the finer of the two grids. */
function largestChange(before, after) {
  const height = Math.max(before.height, after.height), width = Math.max(before.width, after.width);
  const [first, second] = [before, after].map((each) => stretched(each, height, width));
  return first.reduce((most, mass, i) => Math.max(most, Math.abs(second[i] - mass)), 0);
}

/* How much two pictures of one size differ, as a field from 0 to 1 (mean over the colours), and the mean of that. */
function pictureChange(before, after) {
  const [first, second] = [before, after].map((picture) => {
    const canvas = make("canvas", { width: before.naturalWidth, height: before.naturalHeight });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    return context.getImageData(0, 0, canvas.width, canvas.height).data;
  });
  const values = new Float32Array(first.length / 4);
  for (let i = 0; i < values.length; i++) {
    for (let c = 0; c < 3; c++) values[i] += Math.abs(first[4 * i + c] - second[4 * i + c]) / 765;
  }
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { field: field(values, [before.naturalHeight, before.naturalWidth]), mean };
}

/* The numbers at the ends of a figure's colour scale; without them there is none. */
function legend(figure, low, high) {
  figure.querySelector(".legend .low").textContent = low;
  figure.querySelector(".legend .high").textContent = high;
  figure.querySelector(".legend").hidden = !high;
}
