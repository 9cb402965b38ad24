/* Which part of the run is shown. null stands for all layers, steps or heads together. */
const EVERYTHING = Object.freeze({ layer: null, step: null, head: null, looking: false });

const isSame = (a, b) => Object.keys(EVERYTHING).every((what) => a[what] === b[what]);

const isThere = (planes, choice) => isSame(choice, EVERYTHING) || planes.some((plane) => isSame(plane, choice));

/* `choice` with `change` made. Not every combination was recorded (a head is a mean over steps), so what does not go
   with the change gives way. */
function changed(planes, choice, change) {
  const wanted = { ...choice, ...change };
  const others = ["head", "step", "looking", "layer"].filter((what) => !(what in change));
  const tries = [[], ["head"], ["step"], ["looking"], ["head", "step"], ["head", "step", "looking"], ["layer"], others];
  for (const given of tries) {
    const next = { ...wanted };
    for (const what of given) if (others.includes(what)) next[what] = EVERYTHING[what];
    if (isThere(planes, next)) return next;
  }
  return { ...EVERYTHING };
}

/* A view's maps: of everything at once, and of single parts as soon as they are unpacked. */
function sourceOf(view) {
  const whole = view.maps.map((map) => unpackWhole(map, view.grid));
  const words = view.maps.flatMap((map, index) => (map.kind === "word" ? [index] : []));
  const source = {
    view, words, planes: [], failed: false,
    plane: (choice) => source.planes.find((plane) => isSame(plane, choice)),
    has: (index, choice) => words.includes(index) && Boolean(source.plane(choice)),
    field(index, choice) {
      const plane = source.plane(choice), place = words.indexOf(index);
      return plane && place >= 0 ? plane.at(place) : whole[index];
    },
    share(index, choice) {
      const plane = source.plane(choice), place = words.indexOf(index);
      return plane && place >= 0 ? plane.shares[place] : view.maps[index].share;
    },
    steps: (layer) => source.planes.filter((plane) => plane.layer === layer && plane.step !== null).map((plane) => plane.step),
    heads: (layer) => source.planes.filter((plane) => plane.layer === layer && plane.head !== null).map((plane) => plane.head),
    layers: () => view.layers.filter(({ name }) => source.planes.some((plane) => plane.layer === name)),
    looks: () => source.planes.some((plane) => plane.looking),
  };
  source.ready = unpackPlanes(view, words.length).then((planes) => { source.planes = planes; }, () => { source.failed = true; });
  return source;
}

/* The ends of a word's colour scale; one scale for all of its steps, so that they can be compared. */
function scaleOf(source, index, choice) {
  if (choice.step === null || !source.has(index, choice)) {
    const { low, top } = source.field(index, choice);
    return [low, top];
  }
  const fields = source.steps(choice.layer).map((step) => source.field(index, { ...choice, step }));
  const top = Math.max(...fields.map((each) => each.top));
  return [Math.min(...fields.map((each) => each.low), FLATTEST * top), top];
}

function describe(choice) {
  return [
    choice.looking ? "where the word looks" : null,
    choice.layer === null ? null : shortened(choice.layer),
    choice.step === null ? null : `step ${choice.step}`,
    choice.head === null ? null : `head ${choice.head}`,
  ].filter(Boolean).join(" · ");
}

/* A layer's name without what all names of its kind have in common. */
const shortened = (name) => name.replace(/\.transformer_blocks\.(\d+)\.attn2$/, (_, block) => (block === "0" ? "" : `.${block}`)).replace(/\.attn$/, "").replace(/attentions\./, "");
