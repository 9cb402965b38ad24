(() => {
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const colors = bytes(data.colors);
const percent = (mass) => (100 * mass).toFixed(mass >= 0.0995 ? 0 : mass >= 0.00095 || mass === 0 ? 1 : 2) + "\u00a0%";

/* A map: masses on a grid, from 16-bit parts of its largest; `at` interpolates between cell centres, as the export does. */
function unpack(map, [height, width]) {
  const raw = new DataView(bytes(map.mass).buffer);
  const masses = Float32Array.from({ length: height * width }, (_, i) => map.top * raw.getUint16(2 * i, true) / 65535);
  const at = (y, x) => {
    const row = Math.min(Math.max(y * height - 0.5, 0), height - 1), column = Math.min(Math.max(x * width - 0.5, 0), width - 1);
    const r = Math.floor(row), c = Math.floor(column), down = row - r, right = column - c;
    const r2 = Math.min(r + 1, height - 1), c2 = Math.min(c + 1, width - 1);
    return (masses[r * width + c] * (1 - right) + masses[r * width + c2] * right) * (1 - down)
      + (masses[r2 * width + c] * (1 - right) + masses[r2 * width + c2] * right) * down;
  };
  return { ...map, at };
}

/* Colour and opacity both follow the level between the ends of the scale. */
function paint(canvas, map, ratio, long, alpha, [low, top]) {
  const width = Math.round(ratio >= 1 ? long : long * ratio), height = Math.round(ratio >= 1 ? long / ratio : long);
  canvas.width = Math.max(1, width); canvas.height = Math.max(1, height);
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  const gain = top > low ? 1 / (top - low) : 0;
  for (let y = 0, i = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++, i += 4) {
      const level = Math.min(1, Math.max(0, gain * (map.at((y + 0.5) / canvas.height, (x + 0.5) / canvas.width) - low)));
      const color = 3 * Math.round(255 * level);
      image.data[i] = colors[color]; image.data[i + 1] = colors[color + 1]; image.data[i + 2] = colors[color + 2];
      image.data[i + 3] = 255 * alpha * level;
    }
  }
  context.putImageData(image, 0, 0);
}

/* The word, and which one it is where there are several. */
function named(map) {
  const name = document.createElement("bdi");
  name.textContent = map.label;
  if (map.nth) {
    const nth = document.createElement("small");
    nth.textContent = ` #${map.nth}`;
    name.append(nth);
  }
  return name;
}

function start(section, view) {
  const find = (selector) => section.querySelector(selector);
  const all = (selector) => [...section.querySelectorAll(selector)];
  const maps = view.maps.map((map) => unpack(map, view.grid));
  const words = maps.filter((map) => map.kind === "word"), rest = maps.filter((map) => map.kind === "marker" || map.kind === "punctuation");
  const chips = all("button.chip"), thumbs = all(".thumb"), frame = find(".frame"), cross = find(".cross");
  const ratio = view.size[1] / view.size[0], picture = find(".picture"), overlay = document.createElement("canvas");
  const common = Math.max(...words.map((map) => map.top), 0);
  let pinned = words.length ? maps.indexOf(words.reduce((a, b) => (b.top - b.low > a.top - a.low ? b : a))) : maps.length ? 0 : -1;
  let shown = -1, place = null;

  const scaleOf = (map) => (find(".common").checked && map.kind === "word" ? [0, common] : [map.low, map.top]);
  function show(index, again = false) {
    if (index === shown && !again) return;
    shown = index;
    const map = maps[index];
    if (!map) return;
    paint(find(".overlay"), map, ratio, 384, find(".opacity").value / 100, scaleOf(map));
    const note = document.createElement("small");
    note.textContent = map.top > 0 ? ` ${percent(map.share)} of the attention, ${percent(map.top)} at most` : " nothing attended to it";
    find(".shown").replaceChildren(named(map), note);
    const [low, top] = scaleOf(map).map(percent);
    find(".legend .low").textContent = low;
    find(".legend .top").textContent = top;
    for (const button of [...chips, ...thumbs]) {
      button.classList.toggle("active", Number(button.dataset.map) === index);
    }
  }
  function pin(index) {
    pinned = index;
    for (const chip of chips) chip.setAttribute("aria-pressed", String(Number(chip.dataset.map) === index));
    show(index);
  }

  /* The words that own a place, or the whole picture, most mass first. */
  function rank(at) {
    place = at;
    cross.hidden = !at;
    const mass = (map) => (at ? map.at(at.y, at.x) : map.share);
    if (at) { cross.style.left = 100 * at.x + "%"; cross.style.top = 100 * at.y + "%"; }
    const ranked = words.map((map) => ({ map, mass: mass(map) })).sort((a, b) => b.mass - a.mass);
    const most = Math.max(ranked.length ? ranked[0].mass : 0, 1e-12);
    find(".where").textContent = at ? "At this place" : "In the whole picture";
    find(".ranking ol").replaceChildren(...ranked.slice(0, 8).map(({ map, mass }) => {
      const line = document.createElement("li");
      const track = document.createElement("div"), bar = document.createElement("i"), value = document.createElement("span");
      value.textContent = percent(mass);
      if (at && map.share > 0) value.title = `${(mass / map.share).toFixed(1)} times its mean`;
      track.className = "track"; bar.style.width = 100 * mass / most + "%";
      track.append(bar); line.append(named(map), track, value);
      return line;
    }));
    const marks = rest.filter((map) => map.kind === "punctuation").map(mass);
    const others = rest.filter((map) => map.kind === "marker").map((map) => `${map.label} ${percent(mass(map))}`)
      .concat(marks.length ? [`punctuation ${percent(marks.reduce((a, b) => a + b))}`] : []).join(" · ");
    find(".rest").textContent = others ? `Beside the words: ${others}` : "";
    for (const chip of chips) {
      const map = maps[chip.dataset.map];
      const level = map.top > map.low ? (mass(map) - map.low) / (map.top - map.low) : 0;
      chip.style.setProperty("--heat", at && map.kind === "word" ? Math.min(1, Math.max(0, level)) : 0);
    }
  }

  for (const button of [...chips, ...thumbs]) {
    const index = Number(button.dataset.map);
    button.addEventListener("pointerenter", () => show(index));
    button.addEventListener("pointerleave", () => show(pinned));
    button.addEventListener("focus", () => show(index));
    button.addEventListener("blur", () => show(pinned));
    button.addEventListener("click", () => pin(index));
  }
  section.addEventListener("keydown", (event) => {
    const from = chips.indexOf(document.activeElement);
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (from >= 0 && move) { chips[(from + move + chips.length) % chips.length].focus(); event.preventDefault(); }
    if (event.key === "Escape") rank(null);
  });

  const clamp = (v) => Math.min(Math.max(v, 0), 1);
  const under = (event) => {
    const box = frame.getBoundingClientRect();
    return { x: clamp((event.clientX - box.left) / box.width), y: clamp((event.clientY - box.top) / box.height) };
  };
  frame.addEventListener("pointermove", (event) => rank(under(event)));
  frame.addEventListener("pointerdown", (event) => rank(under(event)));
  frame.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") rank(null); });
  frame.addEventListener("focus", () => { if (frame.matches(":focus-visible")) rank(place || { x: 0.5, y: 0.5 }); });
  frame.addEventListener("blur", () => rank(null));
  frame.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 0.1 : 0.025;
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move) return;
    const from = place || { x: 0.5, y: 0.5 };
    rank({ x: clamp(from.x + step * move[0]), y: clamp(from.y + step * move[1]) });
    event.preventDefault();
  });
  for (const control of all(".controls input")) control.addEventListener("input", () => show(shown, true));

  /* Thumbnails draw the picture themselves: a copy of it for every word would make the page large. */
  function drawThumbs() {
    for (const thumb of thumbs) {
      const map = maps[thumb.dataset.map], canvas = thumb.querySelector("canvas"), context = canvas.getContext("2d");
      paint(overlay, map, ratio, 112, 0.9, [map.low, map.top]);
      canvas.width = overlay.width; canvas.height = overlay.height;
      if (picture) context.drawImage(picture, 0, 0, canvas.width, canvas.height);
      context.drawImage(overlay, 0, 0);
    }
  }

  return () => {  /* the first time that the image is chosen, and each time after */
    if (picture) picture.decode().then(drawThumbs, drawThumbs); else drawThumbs();
    if (pinned >= 0) { shown = -1; pin(pinned); }
    rank(null);
  };
}

const sections = [...document.querySelectorAll(".view")];
const openers = sections.map((section, i) => start(section, data.views[i]));
const pickers = [...document.querySelectorAll(".picker button")];
pickers.forEach((button, chosen) => button.addEventListener("click", () => {
  pickers.forEach((other, i) => other.setAttribute("aria-pressed", String(i === chosen)));
  sections.forEach((section, i) => { section.hidden = i !== chosen; });
  openers[chosen]();
}));
if (openers.length) openers[0]();
})();
