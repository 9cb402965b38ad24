/* Two images side by side, and what changed: the same word in both on one scale, and the difference. */
function compare(section, sources, pictures, pair, colors, signed) {
  const find = (selector) => section.querySelector(selector);
  const figures = Object.fromEntries(["before", "after", "difference"].map((side) => [side, find(`[data-side=${side}]`)]));
  const frames = Object.values(figures).map((figure) => figure.querySelector(".frame"));
  const selects = { before: find("select.before"), after: find("select.after"), word: find("select.chosen") };
  const state = { before: pair[0], after: pair[1], word: null, pointed: null, place: null, choice: EVERYTHING, pictures: false, opacity: 90 };
  let showChoice = null, shared = null, lines = [], pixels = null;
  const drawSoon = onceAFrame(draw);
  const change = (next) => { Object.assign(state, next); drawSoon(); };

  /* Words that are in either prompt: a word's index in both, null where it is not. */
  function pairs() {
    const keyed = (source) => new Map(source.words.map((index) => [source.view.maps[index].key.join("\u0000"), index]));
    const [before, after] = [keyed(sources[state.before]), keyed(sources[state.after])];
    return [...new Set([...after.keys(), ...before.keys()])].map((key) => ({ key, before: before.get(key) ?? null, after: after.get(key) ?? null }));
  }
  const mapOf = (side, index) => sources[state[side]].view.maps[index];
  const partOf = (side) => (isThere(sources[state[side]].planes, state.choice) ? state.choice : EVERYTHING);
  const fieldOf = (side, index) => (index === null ? null : sources[state[side]].field(index, partOf(side)));
  const shareOf = (side, index, place) => {
    if (index === null) return null;
    return place ? massAt(fieldOf(side, index), place) : sources[state[side]].share(index, partOf(side));
  };

  /* The side that has the word, the later one first, and its index there. */
  const sideOf = (pair) => (pair.after === null ? ["before", pair.before] : ["after", pair.after]);

  /* What weights did is shown first, or else what changed most. */
  function moreTelling(best, pair) {
    const rank = ({ before, after }) => {
      if (before === null || after === null) return [-1, 0];
      const [was, is] = [mapOf("before", before), mapOf("after", after)];
      return [Math.abs(is.weight - was.weight), Math.abs(is.share - was.share)];
    };
    const [first, second] = [rank(best), rank(pair)];
    return second[0] > first[0] || (second[0] === first[0] && second[1] > first[1]) ? pair : best;
  }

  /* Called when other images are chosen. */
  function open() {
    for (const side of ["before", "after"]) selects[side].value = state[side];
    const words = pairs();
    if (!words.some(({ key }) => key === state.word)) state.word = words.length ? words.reduce(moreTelling).key : null;
    selects.word.replaceChildren(...words.map((pair) => make("option", { value: pair.key }, nameOf(mapOf(...sideOf(pair))))));
    selects.word.parentElement.hidden = !words.length;
    for (const [side, of] of [["before", "before"], ["after", "after"], ["difference", "after"]]) dress(figures[side], of);
    const both = [pictures[state.before], pictures[state.after]];
    const alike = both.every(Boolean) && both[0].naturalWidth === both[1].naturalWidth && both[0].naturalHeight === both[1].naturalHeight;
    pixels = alike ? pictureChange(...both) : null;
    find(".differs").textContent = differing();
    find(".differs").hidden = !find(".differs").textContent;
    find(".scroll").hidden = !words.length;
    controls();
    table(words);
    draw();
  }
  /* What else was not the same in both runs: prompts are compared below, and other layers come with another model. */
  const ELSEWHERE = ["prompt", "layers"];
  function differing() {
    const [before, after] = ["before", "after"].map((side) => new Map(sources[state[side]].view.facts));
    const names = [...new Set([...before.keys(), ...after.keys()])].filter((name) => !ELSEWHERE.includes(name) && before.get(name) !== after.get(name));
    if (!names.length) return "";
    return `Beside the prompt: ${names.map((name) => `${name} ${before.get(name) ?? "none"} → ${after.get(name) ?? "none"}`).join(" · ")}`;
  }
  function dress(figure, side) {
    const { view } = sources[state[side]], from = pictures[state[side]], image = figure.querySelector(".picture");
    figure.style.setProperty("--ratio", view.size[1] / view.size[0]);
    image.hidden = !from;
    if (!from) return;
    image.src = from.src;
    image.alt = figure.dataset.side === "difference" ? "" : from.alt;
    image.classList.toggle("crisp", from.classList.contains("crisp"));
  }

  /* Steps, layers and heads that both images have. */
  function controls() {
    const host = find(".controls"), [first, second] = [sources[state.before], sources[state.after]];
    shared = { ...second, planes: second.planes.filter((plane) => isThere(first.planes, plane)) };
    shared.steps = (layer) => second.steps(layer).filter((step) => isThere(first.planes, { ...EVERYTHING, layer, step }));
    shared.heads = (layer) => second.heads(layer).filter((head) => isThere(first.planes, { ...EVERYTHING, layer, head }));
    shared.layers = () => second.layers().filter(({ name }) => isThere(first.planes, { ...EVERYTHING, layer: name }));
    shared.looks = () => second.looks() && first.looks();
    host.replaceChildren();
    showChoice = shared.planes.length ? chooser(host, shared, (next) => change({ choice: changed(shared.planes, state.choice, next) })) : null;
    if (!isThere(shared.planes, state.choice)) state.choice = EVERYTHING;
    const parts = make("div", { class: "parts" }, slider("Opacity", state.opacity, (opacity) => change({ opacity })));
    if (pixels) {
      const switched = checkbox("difference of the pictures", (on) => change({ pictures: on }));
      switched.querySelector("input").checked = state.pictures;
      parts.append(switched);
    }
    host.append(parts);
  }

  function table(words) {
    lines = words.map((pair) => {
      const maps = ["before", "after"].map((side) => (pair[side] === null ? null : mapOf(side, pair[side])));
      const map = maps[1] || maps[0], weights = maps.map((each) => (each ? `×${weightOf(each.weight)}` : "—"));
      const button = make("button", { type: "button", class: "word", "aria-pressed": "false" }, named(map));
      const bars = make("td", { class: "bars" }, make("i", { class: "bar before" }), make("i", { class: "bar after" }), make("span", { class: "shares" }));
      const delta = make("td", { class: "delta" });
      const weight = make("td", { class: weights[0] === weights[1] ? "weights same" : "weights" }, weights[0] === weights[1] ? weights[1] : weights.join(" → "));
      const line = make("tr", {}, make("th", { scope: "row" }, button), weight, bars, delta);
      line.addEventListener("pointerenter", () => change({ pointed: pair.key }));
      line.addEventListener("pointerleave", () => change({ pointed: null }));
      line.addEventListener("click", () => change({ word: pair.key, pointed: null }));
      button.addEventListener("focus", () => change({ pointed: pair.key }));
      button.addEventListener("blur", () => change({ pointed: null }));
      return { ...pair, line, button, bars, delta };
    });
    find(".changes tbody").replaceChildren(...lines.map(({ line }) => line));
    find(".changes tbody").onkeydown = (event) => {
      const from = lines.findIndex(({ button }) => button === document.activeElement);
      const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (from < 0 || !move) return;
      lines[clamp(from + move, 0, lines.length - 1)].button.focus();
      event.preventDefault();
    };
  }

  function draw() {
    const key = state.pointed ?? state.word, pair = lines.find((each) => each.key === key);
    if (pair) drawMaps(pair);
    else drawNothing();
    if (state.pictures && pixels) drawPixels();
    drawTable(key);
    for (const frame of frames) moveCross(frame.querySelector(".cross"), state.place);
    if (showChoice && pair) {
      const [side, index] = sideOf(pair);
      showChoice(state.choice, (choice) => sources[state[side]].share(index, choice));
    }
  }
  function drawNothing() {
    for (const figure of Object.values(figures)) {
      sized(figure.querySelector(".overlay"), 1, 1);
      figure.querySelector(".shown").replaceChildren();
      figure.classList.remove("pixels");
      legend(figure, "", "");
    }
  }
  function drawMaps(pair) {
    const there = ["before", "after"].filter((side) => pair[side] !== null), opacity = state.opacity / 100;
    const scales = there.map((side) => scaleOf(sources[state[side]], pair[side], partOf(side)));
    const scale = [Math.min(...scales.map(([low]) => low)), Math.max(...scales.map(([, top]) => top))];
    const whose = state.place ? "of this place" : "of the attention";
    const ratioOf = (side) => sources[state[side]].view.size[1] / sources[state[side]].view.size[0];
    for (const side of ["before", "after"]) {
      const figure = figures[side], canvas = figure.querySelector(".overlay"), shown = fieldOf(side, pair[side]);
      if (shown) paint(canvas, shown, colors, ratioOf(side), 320, opacity, scale);
      else sized(canvas, ratioOf(side), 1);
      const text = shown ? ` ${percent(shareOf(side, pair[side], state.place))} ${whose}` : "not in this prompt";
      figure.querySelector(".shown").replaceChildren(...(shown ? [named(mapOf(side, pair[side]))] : []), make("small", {}, text));
      legend(figure, percent(scale[0]), percent(scale[1]));
    }
    const figure = figures.difference, [before, after] = [fieldOf("before", pair.before), fieldOf("after", pair.after)];
    figure.classList.remove("pixels");
    if (!before || !after) {
      sized(figure.querySelector(".overlay"), 1, 1);
      figure.querySelector(".shown").replaceChildren(make("small", {}, "only one of the prompts has this word"));
      legend(figure, "", "");
      return;
    }
    const most = largestChange(before, after), change = shareOf("after", pair.after, state.place) - shareOf("before", pair.before, state.place);
    paintDifference(figure.querySelector(".overlay"), before, after, signed, ratioOf("after"), 320, opacity, most);
    figure.querySelector(".shown").replaceChildren(named(mapOf("after", pair.after)), make("small", {}, ` ${points(change)} ${whose}`));
    legend(figure, points(-most), points(most));
  }
  function drawPixels() {
    const figure = figures.difference, { view } = sources[state.after];
    figure.classList.add("pixels");
    paint(figure.querySelector(".overlay"), pixels.field, colors, view.size[1] / view.size[0], 320, 1, [0, pixels.field.top]);
    figure.querySelector(".shown").replaceChildren("pictures", make("small", {}, ` ${percent(pixels.mean)} mean change of a pixel`));
    legend(figure, percent(0), percent(pixels.field.top));
  }
  function drawTable(key) {
    selects.word.value = key;
    const shares = lines.map((pair) => ["before", "after"].map((side) => shareOf(side, pair[side], state.place)));
    const most = Math.max(...shares.flat().map((share) => share ?? 0), 1e-12);
    for (const [i, { line, button, bars, delta, key: own }] of lines.entries()) {
      const [before, after] = shares[i];
      line.classList.toggle("active", own === key);
      button.setAttribute("aria-pressed", String(own === state.word));
      for (const [bar, share] of [[".before", before], [".after", after]]) {
        const { style } = bars.querySelector(bar);
        style.width = `${100 * (share ?? 0) / most}%`;
        style.visibility = share === null ? "hidden" : "visible";
      }
      bars.querySelector(".shares").textContent = [before, after].map((share) => (share === null ? "—" : percent(share))).join(" → ");
      const both = before !== null && after !== null, change = both ? after - before : 0;
      delta.textContent = both ? points(change) : "—";
      delta.className = `delta ${Math.abs(change) < 5e-5 ? "" : change > 0 ? "more" : "less"}`;
      if (both && before > 0) delta.append(make("small", {}, ` ×${multiple(after / before)}`));
    }
    const where = state.place ? `at the place ${Math.round(100 * state.place.x)} % across and ${Math.round(100 * state.place.y)} % down` : "over the whole picture";
    find(".note.place").textContent = !lines.length ? "Neither image has maps of words to compare." : `Shares ${where}${describe(state.choice) ? `, ${describe(state.choice)}` : ""}. Upper bar: before; lower bar: after.`;
  }

  const choose = (next) => { Object.assign(state, next); open(); };
  for (const side of ["before", "after"]) selects[side].addEventListener("input", () => choose({ [side]: Number(selects[side].value) }));
  selects.word.addEventListener("input", () => change({ word: selects.word.value, pointed: null }));
  find(".swap").addEventListener("click", () => choose({ before: state.after, after: state.before }));
  for (const frame of frames) follow(frame, () => state.place, (place) => change({ place }));
  return () => Promise.all(sources.map((source) => source.ready)).then(() => Promise.all(pictures.filter(Boolean).map((picture) => picture.decode().catch(() => {})))).then(() => {
    open();
    section.dataset.ready = "";
  });
}
