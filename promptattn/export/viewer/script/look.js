/* One image: its words, its maps, and the words of each place. Events change `state`; `draw` shows it. */
function look(section, source, colors) {
  const find = (selector) => section.querySelector(selector);
  const all = (selector) => [...section.querySelectorAll(selector)];
  const { view, words } = source, maps = view.maps;
  const chips = all("button.chip"), thumbs = all(".thumb"), frame = find(".frame"), picture = find(".picture");
  const ratio = view.size[1] / view.size[0], scratch = document.createElement("canvas");
  const spots = maps.flatMap((map, index) => (map.kind === "patch" ? [spot(map, index)] : []));
  const buttons = [...chips, ...spots, ...thumbs];
  const indexOf = (button) => Number(button.dataset.map);

  const state = { pinned: mostTelling(), pointed: null, place: null, choice: EVERYTHING, common: false, opacity: 90 };
  const drawSoon = onceAFrame(draw);
  const change = (next) => { Object.assign(state, next); drawSoon(); };
  let showChoice = null, thumbsShow = null;

  function mostTelling() {
    const contrast = (index) => maps[index].top - maps[index].low;
    if (!words.length) return maps.length ? 0 : null;
    return words.reduce((best, index) => (contrast(index) > contrast(best) ? index : best));
  }
  function spot(map, index) {
    const [row, column] = map.place, name = `${map.label}: how much each place attends to it`;
    const button = make("button", { type: "button", class: "spot", "data-map": index, "aria-pressed": "false", "aria-label": name, title: name });
    button.style.left = `${100 * column}%`;
    button.style.top = `${100 * row}%`;
    frame.after(button);
    return button;
  }
  const scale = (index) => {
    if (!state.common || !words.includes(index)) return scaleOf(source, index, state.choice);
    return [0, Math.max(...words.map((word) => scaleOf(source, word, state.choice)[1]))];
  };

  function draw() {
    const index = state.pointed ?? state.pinned;
    if (maps[index]) drawMap(index);
    else drawPicture();
    for (const button of buttons) {
      button.classList.toggle("active", indexOf(button) === index);
      if (button.hasAttribute("aria-pressed")) button.setAttribute("aria-pressed", String(indexOf(button) === state.pinned));
    }
    drawWords();
    if (showChoice) showChoice(state.choice, (choice) => source.share(words.includes(index) ? index : words[0], choice));
    if (thumbsShow !== state.choice) drawThumbs();
  }
  function drawMap(index) {
    const map = maps[index], shown = source.field(index, state.choice), [low, top] = scale(index);
    paint(find(".overlay"), shown, colors, ratio, 384, state.opacity / 100, [low, top]);
    const part = source.has(index, state.choice) ? describe(state.choice) : "";
    const share = percent(source.share(index, state.choice));
    const text = shown.top > 0 ? ` ${share} of the attention, ${percent(shown.top)} at most` : " nothing attended to it";
    find(".shown").replaceChildren(named(map), make("small", {}, text + (part ? ` · ${part}` : "")));
    legend(find("figure"), percent(low), percent(top));
  }
  function drawPicture() {
    sized(find(".overlay"), ratio, 1);
    find(".shown").replaceChildren(make("small", {}, !maps.length ? "" : picture ? "The picture alone" : "No word is chosen"));
    legend(find("figure"), "", "");
  }

  /* The words that own the place, or the whole picture, most mass first. */
  function drawWords() {
    const { place, choice } = state;
    const mass = (index) => (place ? massAt(source.field(index, choice), place) : source.share(index, choice));
    const times = (index) => (place && source.share(index, choice) > 0 ? mass(index) / source.share(index, choice) : null);
    moveCross(find(".cross"), place);
    find(".where").textContent = place ? "At this place" : "In the whole picture";
    const ranked = words.map((index) => ({ map: maps[index], mass: mass(index), times: times(index) }));
    find(".ranking ol").replaceChildren(...rankingLines(ranked.sort((a, b) => b.mass - a.mass)));
    find(".rest").textContent = isSame(choice, EVERYTHING) ? beside(mass) : "";
    const most = Math.max(...words.map((index) => source.share(index, choice)), 1e-12);
    for (const chip of chips) {
      const index = indexOf(chip), share = source.share(index, choice), { low, top } = source.field(index, choice);
      const level = top > low ? (mass(index) - low) / (top - low) : 0;
      chip.style.setProperty("--heat", place && words.includes(index) ? clamp(level) : 0);
      chip.style.setProperty("--part", words.includes(index) ? share / most : 0);
      chip.querySelector(".share").textContent = percent(share);
    }
    if (!place) return;
    const here = [place.y, place.x].map((each) => clamp(each, 0, 0.99).toFixed(2)).join(", ");
    for (const code of all(".missing .patches code")) code.textContent = code.textContent.replace(/\d\.\d+, \d\.\d+/, here);
  }
  function beside(mass) {
    const kinds = (kind) => maps.flatMap((map, index) => (map.kind === kind ? [index] : []));
    const marks = kinds("punctuation").reduce((sum, index) => sum + mass(index), 0);
    const others = kinds("marker").map((index) => `${maps[index].label} ${percent(mass(index))}`);
    if (kinds("punctuation").length) others.push(`punctuation ${percent(marks)}`);
    return others.length ? `Beside the words: ${others.join(" · ")}` : "";
  }

  /* Thumbnails draw the picture themselves: a copy of it for every word would make the page large. */
  function drawThumbs() {
    thumbsShow = state.choice;
    for (const thumb of thumbs) {
      const index = indexOf(thumb), canvas = thumb.querySelector("canvas"), context = canvas.getContext("2d");
      paint(scratch, source.field(index, state.choice), colors, ratio, 208, 0.9, scaleOf(source, index, state.choice));
      canvas.width = scratch.width; canvas.height = scratch.height;
      context.fillStyle = "#28272e";
      context.fillRect(0, 0, canvas.width, canvas.height);
      if (picture) context.drawImage(picture, 0, 0, canvas.width, canvas.height);
      context.drawImage(scratch, 0, 0);
    }
  }

  for (const button of buttons) {
    const index = indexOf(button);
    button.addEventListener("pointerenter", () => change({ pointed: index }));
    button.addEventListener("pointerleave", () => change({ pointed: null }));
    button.addEventListener("focus", () => change({ pointed: index }));
    button.addEventListener("blur", () => change({ pointed: null }));
    button.addEventListener("click", () => change({ pinned: state.pinned === index ? null : index, pointed: null }));
  }
  section.addEventListener("keydown", (event) => {
    const from = chips.indexOf(document.activeElement), ahead = find(".prompt").dir === "rtl" ? -1 : 1;
    const move = { ArrowRight: ahead, ArrowLeft: -ahead }[event.key];
    if (from >= 0 && move) {
      chips[(from + move + chips.length) % chips.length].focus();
      event.preventDefault();
    }
  });
  follow(frame, () => state.place, (place) => change({ place }));

  const controls = find(".controls");
  source.ready.then(() => {
    if (source.planes.length) {
      showChoice = chooser(controls, source, (next) => change({ choice: changed(source.planes, state.choice, next) }));
    }
    const parts = make("div", { class: "parts" }, slider("Opacity", state.opacity, (opacity) => change({ opacity })));
    if (words.length > 1) parts.append(checkbox("one scale for all words, from 0", (common) => change({ common })));
    if (maps.length) controls.append(parts);
    controls.hidden = !maps.length;
    const note = source.failed ? "This browser cannot unpack single steps, layers and heads; a newer one can." : view.note;
    find(".notes .note").textContent = note;
    find(".notes .note").hidden = !note;
    section.dataset.ready = "";
    draw();
  });
  find(".tables").append(...view.relations.map((relation) => relationTable(relation, colors)));

  return () => {  /* each time that the image is chosen */
    thumbsShow = null;
    draw();
    if (picture) picture.decode().then(drawThumbs, () => {});
  };
}
