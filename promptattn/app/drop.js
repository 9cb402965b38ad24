// An image dropped anywhere on the page is one to go on from; what is not sent is told in a sentence.

const KINDS = /\.(png|jpe?g|webp)$/i;

/** Why these files are not sent; empty where the one file is. */
function refusal(files, mostMegabytes) {
  if (files.length > 1) return `These are ${files.length} files; drop one image.`;
  const [{ name, size }] = files;
  if (!KINDS.test(name)) return `${name} is no PNG, JPEG or WebP; only these say how they were made.`;
  const megabytes = size / 2 ** 20;
  if (megabytes <= mostMegabytes) return "";
  return (
    `${name} has ${megabytes.toFixed(1)} MB, and ${mostMegabytes} MB are taken at most. ` +
    `Whoever starts the app can take more: promptattn app --max-upload-mb ${Math.ceil(megabytes)}`
  );
}

/** Take what is dropped or chosen to where the page uploads it, unless it is refused. */
function listenToDrops(root, mostMegabytes) {
  const chooser = () => root.querySelector("#pa-drop input[type=file]");
  const isRefused = (files) => {
    const said = refusal(files, mostMegabytes);
    root.querySelector("#pa-refused").textContent = said;
    root.querySelector("#pa-dropped")?.classList.toggle("pa-outdated", said !== "");
    return said !== "";
  };
  // Before the page's own listeners, which would refuse a file in words of their own.
  root.addEventListener(
    "change",
    (event) => {
      if (event.target !== chooser() || !event.target.files.length || !isRefused(event.target.files)) return;
      event.stopImmediatePropagation();
      event.target.value = "";
    },
    true,
  );
  const bringsFiles = (event) => event.dataTransfer?.types.includes("Files");
  root.addEventListener("dragover", (event) => bringsFiles(event) && event.preventDefault(), true);
  root.addEventListener(
    "drop",
    (event) => {
      if (!bringsFiles(event)) return;
      event.preventDefault(); // the browser would leave the page for the image
      event.stopImmediatePropagation();
      if (!chooser()) return;
      chooser().files = event.dataTransfer.files;
      chooser().dispatchEvent(new Event("change", { bubbles: true }));
    },
    true,
  );
}
