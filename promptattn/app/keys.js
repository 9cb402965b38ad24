// Keys in a prompt: Ctrl+Up and Ctrl+Down, and the buttons beside it, move the weight of the words that are selected
// in it; Ctrl+Enter presses the button of the tab.

/** Move the weight of what is selected in a prompt box, as if it had been typed: the browser can take it back. */
function weigh(box, steps) {
  const syntax = box.closest(".pa-writing").querySelector("[data-syntax]")?.dataset.syntax;
  const change = moved(box.value, box.selectionStart, box.selectionEnd, steps, syntax);
  if (!change) return;
  const before = document.activeElement;
  const { scrollTop } = box;
  box.focus({ preventScroll: true });
  box.setSelectionRange(change.from, change.to);
  if (!document.execCommand("insertText", false, change.written)) {
    box.setRangeText(change.written, change.from, change.to);
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }
  box.setSelectionRange(change.start, change.end);
  box.scrollTop = scrollTop;
  before?.focus({ preventScroll: true });
}

/** Listen in every prompt of the page, also in those that come later. */
function listenToKeys(root) {
  root.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: 1, ArrowDown: -1, Enter: 0 }[event.key];
    const isOurs = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey;
    if (steps === undefined || !isOurs || !event.target.matches?.(".pa-prompt textarea")) return;
    event.preventDefault();
    if (steps) weigh(event.target, steps);
    else [...root.querySelectorAll(".pa-buttons button.primary")].find((each) => each.checkVisibility())?.click();
  });
  const button = (event) => event.target.closest?.(".pa-nudge button");
  // A pressed button must not take the words' selection away.
  root.addEventListener("mousedown", (event) => button(event) && event.preventDefault());
  root.addEventListener("click", (event) => {
    const steps = Number(button(event)?.dataset.steps);
    if (steps) weigh(button(event).closest(".pa-writing").querySelector("textarea"), steps);
  });
}
