/* Tables of attention between words. Every cell can be pointed at, or reached with the arrow keys. */

/* Black letters or white ones, whichever is easier to read on a colour: the better contrast is never below 4.5 (WCAG). */
function inkOn(rgb) {
  const [red, green, blue] = [...rgb].map((each) => (each <= 10 ? each / 3294.6 : ((each / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}

function relationTable(relation, table) {
  const { words, mass } = relation, most = Math.max(...mass.flat(), 1e-12);
  const digits = most < 0.0995 ? 1 : 0, said = make("p", { class: "said", "aria-live": "polite" });
  const cells = mass.map((row, i) => row.map((value, j) => {
    const at = 3 * Math.round(255 * value / most), color = table.slice(at, at + 3);
    const style = value > 0 ? `background: rgb(${color.join(" ")}); color: ${inkOn(color)}` : null;
    const name = `${words[i]} → ${words[j]}: ${percent(value)}`;
    return make("td", { style, class: value > 0 ? null : "nothing", tabindex: -1, "aria-label": name }, value > 0 ? (100 * value).toFixed(digits) : "");
  }));
  const heads = words.map((word) => make("th", { scope: "col" }, make("span", {}, make("bdi", {}, word))));
  const sides = words.map((word) => make("th", { scope: "row" }, make("bdi", {}, word)));
  const body = make("tbody", {}, ...cells.map((row, i) => make("tr", {}, sides[i], ...row)));
  const grid = make("table", { class: "relation", role: "grid" }, make("thead", {}, make("tr", {}, make("td"), ...heads)), body);

  const quiet = relation.joint ? "Each row attends to the columns; the rest goes to the image, markers and other encoders." : "Each row attends to the columns; the rest goes to markers.";
  let entry = cells[0][0];
  const tell = (i, j) => {
    said.replaceChildren(...(i === null ? [quiet] : [make("bdi", {}, words[i]), " gives ", make("b", {}, percent(mass[i][j])), " of its attention to ", make("bdi", {}, words[j])]));
    for (const [k, side] of sides.entries()) side.classList.toggle("active", k === i);
    for (const [k, head] of heads.entries()) head.classList.toggle("active", k === j);
  };
  const place = (cell) => {
    for (const [i, row] of cells.entries()) if (row.includes(cell)) return [i, row.indexOf(cell)];
    return [null, null];
  };
  const rest = () => tell(...place(document.activeElement));
  grid.addEventListener("pointerover", (event) => {
    const found = place(event.target.closest("td"));
    if (found[0] === null) rest();
    else tell(...found);
  });
  grid.addEventListener("pointerleave", rest);
  grid.addEventListener("focusin", (event) => tell(...place(event.target)));
  grid.addEventListener("focusout", () => tell(null, null));
  grid.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const [i, j] = place(event.target);
    if (!move || i === null) return;
    entry.tabIndex = -1;
    entry = cells[clamp(i + move[0], 0, words.length - 1)][clamp(j + move[1], 0, words.length - 1)];
    entry.tabIndex = 0;
    entry.focus();
    event.preventDefault();
  });
  entry.tabIndex = 0;
  tell(null, null);
  const part = relation.all > words.length ? `; the first ${words.length} of ${relation.all} words` : "";
  return make("section", { class: "between" },
    make("h2", {}, "Between words ", make("small", {}, `${relation.encoder}, in %${part}`)), said,
    make("div", { class: "scroll", role: "region", "aria-label": `Attention between words in ${relation.encoder}` }, grid));
}
