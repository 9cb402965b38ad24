/* The page: its images, its two modes, and whether it is dark or light. */
const data = JSON.parse(document.getElementById("data").textContent);
const colors = bytesOf(data.colors), signed = bytesOf(data.diverging);
const sections = [...document.querySelectorAll(".view")];
const sources = data.views.map(sourceOf);
const openers = sections.map((section, i) => look(section, sources[i], colors));

const pickers = [...document.querySelectorAll(".picker button")];
function openImage(chosen) {
  pickers.forEach((button, i) => button.setAttribute("aria-pressed", String(i === chosen)));
  sections.forEach((section, i) => { section.hidden = i !== chosen; });
  if (openers[chosen]) openers[chosen]();
}
pickers.forEach((button, chosen) => button.addEventListener("click", () => openImage(chosen)));
openImage(0);

const modes = [...document.querySelectorAll(".modes button")], comparison = document.getElementById("compare");
const openComparison = comparison && compare(comparison, sources, sections.map((section) => section.querySelector(".picture")), data.pair, colors, signed);
function openMode(mode) {
  if (!comparison) return;
  modes.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.mode === mode)));
  document.getElementById("look").hidden = mode !== "look";
  comparison.hidden = mode !== "compare";
  if (mode === "compare") openComparison();
}
modes.forEach((button) => button.addEventListener("click", () => openMode(button.dataset.mode)));
openMode(data.opened);

/* Not remembered: a page from a file has nowhere to keep it. */
const themes = [["", "as the system"], ["dark", "dark"], ["light", "light"]];
let theme = 0;
const toggle = document.querySelector(".theme");
toggle.addEventListener("click", () => {
  theme = (theme + 1) % themes.length;
  document.documentElement.dataset.theme = themes[theme][0];
  toggle.querySelector("span").textContent = themes[theme][1];
  toggle.setAttribute("aria-label", `Colours: ${themes[theme][1]}`);
});
