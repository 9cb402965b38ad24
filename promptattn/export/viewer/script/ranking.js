/* Lists of words by mass, and places under the pointer or the keys. */
const LISTED = 8;

function rankingLines(ranked) {
  const most = Math.max(...ranked.map(({ mass }) => mass), 1e-12);
  return ranked.slice(0, LISTED).map(({ map, mass, times }) => {
    const bar = make("i", { style: `width: ${100 * mass / most}%` });
    const value = make("span", { title: times ? `${times.toFixed(1)} times its mean` : null }, percent(mass));
    return make("li", {}, named(map), make("div", { class: "track" }, bar), value);
  });
}

/* Calls `onplace` with where the pointer or the arrow keys are in a frame, each from 0 to 1, or with null. */
function follow(frame, current, onplace) {
  const under = (event) => {
    const box = frame.getBoundingClientRect();
    return { x: clamp((event.clientX - box.left) / box.width), y: clamp((event.clientY - box.top) / box.height) };
  };
  frame.addEventListener("pointermove", (event) => onplace(under(event)));
  frame.addEventListener("pointerdown", (event) => onplace(under(event)));
  frame.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") onplace(null); });
  frame.addEventListener("focus", () => { if (frame.matches(":focus-visible")) onplace(current() || { x: 0.5, y: 0.5 }); });
  frame.addEventListener("blur", () => onplace(null));
  frame.addEventListener("keydown", (event) => {
    if (event.key === "Escape") onplace(null);
    const step = event.shiftKey ? 0.1 : 0.025;
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move || event.target !== frame) return;
    const from = current() || { x: 0.5, y: 0.5 };
    onplace({ x: clamp(from.x + step * move[0]), y: clamp(from.y + step * move[1]) });
    event.preventDefault();
  });
}

function moveCross(cross, place) {
  cross.hidden = !place;
  if (!place) return;
  cross.style.left = `${100 * place.x}%`;
  cross.style.top = `${100 * place.y}%`;
}
