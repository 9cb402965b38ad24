/* Controls for parts of a run: a scrubber over the steps with the word's share as a curve, and pickers. */
const FRAME = 130;  // milliseconds a step is shown while playing

function scrubber(host, steps, onstep) {
  const play = make("button", { type: "button", class: "play", "aria-label": "Play the steps" }, "▶");
  const input = make("input", { type: "range", min: 0, max: steps.length - 1, value: steps.length - 1, "aria-label": "Step" });
  const all = make("button", { type: "button", class: "all", "aria-pressed": "true" }, "all steps");
  const now = make("output", { class: "now" });
  const curve = document.getElementById("curve").content.querySelector("svg").cloneNode(true), area = curve.querySelector("path");
  host.append(make("div", { class: "scrubber", role: "group", "aria-label": "Denoising steps" },
    play, make("div", { class: "run" }, curve, input), all, now));

  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶";
    play.setAttribute("aria-label", "Play the steps");
  };
  const choose = (place) => { input.value = place; onstep(steps[place]); };
  play.addEventListener("click", () => {
    if (timer !== null) { stop(); return; }
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "Stop playing");
    let place = all.getAttribute("aria-pressed") === "true" || Number(input.value) === steps.length - 1 ? 0 : Number(input.value);
    choose(place);
    timer = setInterval(() => {
      place += 1;
      if (place >= steps.length) stop();
      else choose(place);
    }, FRAME);
  });
  input.addEventListener("input", () => { stop(); onstep(steps[Number(input.value)]); });
  all.addEventListener("click", () => { stop(); onstep(all.getAttribute("aria-pressed") === "true" ? steps[Number(input.value)] : null); });

  return (step, shares) => {  /* what is chosen, and the word's share in each step */
    if (step !== null) input.value = steps.indexOf(step);
    else stop();
    all.setAttribute("aria-pressed", String(step === null));
    all.parentElement.classList.toggle("every", step === null);
    input.setAttribute("aria-valuetext", step === null ? `mean of ${steps.length} steps` : `step ${step}`);
    now.textContent = step === null ? `mean of ${steps.length} steps` : `step ${step} of ${steps[0]} to ${steps[steps.length - 1]}`;
    const most = Math.max(...shares, 1e-12), across = (i) => 100 * i / Math.max(1, shares.length - 1);
    const line = shares.map((share, i) => `L${across(i).toFixed(2)} ${(29 - 27 * share / most).toFixed(2)}`).join("");
    area.setAttribute("d", `M0 30${line}L100 30Z`);
  };
}

/* A select whose first option stands for all; `fill` gives the options there are now, `show` the chosen one. */
function picker(host, name, all, onchoose) {
  const select = make("select", {}), label = make("label", { class: "choose" }, name, select);
  let values = [];
  select.addEventListener("input", () => onchoose(select.selectedIndex > 0 ? values[select.selectedIndex - 1] : null));
  host.append(label);
  return {
    fill(options) {
      values = options.map(([value]) => value);
      select.replaceChildren(make("option", {}, all), ...options.map(([, text]) => make("option", {}, text)));
      label.hidden = !options.length;
    },
    show: (value) => { select.selectedIndex = values.indexOf(value) + 1; },
  };
}

/* All controls of a choice. `shares(step)` are asked for the word that is shown. */
function chooser(host, source, onchange) {
  const layers = source.layers(), parts = make("div", { class: "parts" });
  const byLayer = picker(parts, "Layer", "all, by coherence", (layer) => onchange({ layer }));
  byLayer.fill(layers.map(({ name, grid, share }) => [name, `${shortened(name)} · ${grid[1]}×${grid[0]} · ${percent(share)}`]));
  const byHead = picker(parts, "Head", "mean of all", (head) => onchange({ head }));
  const direction = picker(parts, "Direction", "picture looks at word", (looking) => onchange({ looking: looking === true }));
  direction.fill(source.looks() ? [[true, "word looks at picture"]] : []);
  const steps = source.steps(null), scrub = steps.length > 1 ? scrubber(host, steps, (step) => onchange({ step })) : null;
  if (layers.length || source.looks() || source.heads(null).length) host.append(parts);
  let filled;
  return (choice, share) => {
    if (filled !== choice.layer) byHead.fill(source.heads(choice.layer).map((head) => [head, `head ${head}`]));
    filled = choice.layer;
    byLayer.show(choice.layer);
    byHead.show(choice.head);
    direction.show(choice.looking);
    const there = source.steps(choice.layer).length ? choice.layer : null;
    if (scrub) scrub(choice.step, steps.map((step) => share({ ...EVERYTHING, layer: there, step })));
  };
}
