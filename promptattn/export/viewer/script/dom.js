/* Elements, and numbers as people read them. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

const clamp = (value, low = 0, high = 1) => Math.min(Math.max(value, low), high);

/* Two or three digits that matter, as `_percent` of page.py writes it. */
const percent = (mass) => (100 * mass).toFixed(mass >= 0.0995 ? 0 : mass >= 0.00095 || mass === 0 ? 1 : 2) + "\u00a0%";

/* A ratio, with three digits at most. */
const multiple = (ratio) => ratio.toFixed(ratio >= 99.5 ? 0 : ratio >= 9.95 ? 1 : 2);

/* A change of a share, in percentage points. */
function points(change) {
  const size = Math.abs(100 * change);
  const digits = size >= 9.95 ? 0 : size >= 0.095 || size === 0 ? 1 : 2;
  const text = size.toFixed(digits);
  return `${Number(text) === 0 ? "±0" : (change < 0 ? "−" : "+") + text}\u00a0pt`;
}

/* A weight, as the `number` filter of page.py writes it. */
const weightOf = (weight) => String(Number(weight.toPrecision(4))).replace("-", "−");

/* A word's name, and which one it is where there are several. */
const nameOf = (map) => (map.nth ? `${map.label} #${map.nth}` : map.label);
function named(map) {
  const name = make("bdi", {}, map.label);
  if (map.nth) name.append(make("small", {}, ` #${map.nth}`));
  return name;
}

/* Runs `draw` once before the next frame, however often it is asked for. */
function onceAFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; draw(); });
  };
}

function slider(name, value, oninput) {
  const input = make("input", { type: "range", min: 0, max: 100, value });
  input.addEventListener("input", () => oninput(Number(input.value)));
  return make("label", { class: "slider" }, name, input);
}

function checkbox(name, oninput) {
  const input = make("input", { type: "checkbox" });
  input.addEventListener("input", () => oninput(input.checked));
  return make("label", { class: "check" }, input, name);
}
