/* A map: masses on a grid of places. Between the places it is interpolated, as promptattn.maps.resize does. */
const FLATTEST = 0.75;

function field(values, [height, width]) {
  let least = Infinity, top = 0;
  for (const value of values) { least = Math.min(least, value); top = Math.max(top, value); }
  return { values, height, width, top, low: Math.min(least, FLATTEST * top) };
}

/* For each of `target` places the two source places round its centre, and how far it lies towards the second. */
function neighbours(source, target) {
  const low = new Int32Array(target), high = new Int32Array(target), part = new Float32Array(target);
  for (let i = 0; i < target; i++) {
    const centre = clamp((i + 0.5) * source / target - 0.5, 0, source - 1);
    low[i] = Math.floor(centre);
    high[i] = Math.min(low[i] + 1, source - 1);
    part[i] = centre - low[i];
  }
  return { low, high, part };
}

/* The field at height x width places, row by row. */
function stretched(source, height, width) {
  const across = neighbours(source.width, width), down = neighbours(source.height, height);
  const rows = new Float32Array(source.height * width), out = new Float32Array(height * width);
  for (let y = 0; y < source.height; y++) {
    for (let x = 0; x < width; x++) {
      const left = source.values[y * source.width + across.low[x]], right = source.values[y * source.width + across.high[x]];
      rows[y * width + x] = left + (right - left) * across.part[x];
    }
  }
  for (let y = 0; y < height; y++) {
    const above = down.low[y] * width, below = down.high[y] * width, part = down.part[y];
    for (let x = 0; x < width; x++) out[y * width + x] = rows[above + x] + (rows[below + x] - rows[above + x]) * part;
  }
  return out;
}

/* The mass at one place; y and x from 0 to 1. */
function massAt(source, { y, x }) {
  const row = clamp(y * source.height - 0.5, 0, source.height - 1), column = clamp(x * source.width - 0.5, 0, source.width - 1);
  const r = Math.floor(row), c = Math.floor(column), down = row - r, right = column - c;
  const r2 = Math.min(r + 1, source.height - 1), c2 = Math.min(c + 1, source.width - 1);
  const value = (i, j) => source.values[i * source.width + j];
  return (value(r, c) * (1 - right) + value(r, c2) * right) * (1 - down) + (value(r2, c) * (1 - right) + value(r2, c2) * right) * down;
}
