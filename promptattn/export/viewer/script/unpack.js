/* The page's data, back as numbers: see packing.py and fitting.py. */
const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

async function inflated(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/* A map over everything: 16-bit parts of its largest mass. */
function unpackWhole(map, grid) {
  const raw = new DataView(bytesOf(map.mass).buffer);
  const values = Float32Array.from({ length: grid[0] * grid[1] }, (_, i) => map.top * raw.getUint16(2 * i, true) / 65535);
  return { ...field(values, grid), low: map.low, top: map.top };
}

/* The planes of a view: `shares` of its words, and `at(i)`, the map of the i-th of them, unpacked when first asked for. */
async function unpackPlanes(view, words) {
  if (!view.planes.length) return [];
  const raw = await inflated(view.blob), numbers = new DataView(raw.buffer);
  let number = 0, level = 8 * words * view.planes.length;
  return view.planes.map((plane) => {
    const read = () => Float32Array.from({ length: words }, () => numbers.getFloat32(4 * number++, true));
    const tops = read(), shares = read(), places = plane.grid[0] * plane.grid[1], from = level, kept = [];
    level += words * places;
    const at = (i) => (kept[i] ??= unpackPart(raw.subarray(from + i * places, from + (i + 1) * places), tops[i], plane.grid));
    return { ...plane, shares, at };
  });
}

/* Bytes travel as differences, modulo 256. */
function unpackPart(raw, top, grid) {
  const values = new Float32Array(raw.length);
  for (let i = 0, level = 0; i < raw.length; i++) {
    level = (level + raw[i]) & 255;
    values[i] = top * level / 255;
  }
  return field(values, grid);
}
