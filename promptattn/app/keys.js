// Ctrl+Up and Ctrl+Down on a prompt: the weight of the selected words, in A1111's syntax. Pure functions first.

const STEP = 5; // hundredths

/** Where the words under a selection begin and end: grown to whole words, blanks at its ends left off. */
export function wordsAt(text, start, end) {
  const letter = (at) => at >= 0 && at < text.length && /[\p{L}\p{M}\p{N}_'’-]/u.test(text[at]);
  if (start === end && !letter(start) && letter(start - 1)) start = end = start - 1;
  if (start !== end) {
    while (start < end && /\s/.test(text[start])) start += 1;
    while (end > start && /\s/.test(text[end - 1])) end -= 1;
  }
  while (letter(start) && letter(start - 1)) start -= 1;
  while (letter(end) && (end === start || letter(end - 1))) end += 1;
  return [start, end];
}

/** The bracket and number right round a range, `(words:1.2)` or `(words)`; null where there is none. */
export function weightRound(text, start, end) {
  if (text[start - 1] !== "(" || text[start - 2] === "\\") return null;
  const found = /^(?:\s*:\s*([+-]?\d*\.?\d+)\s*)?\)/.exec(text.slice(end));
  if (!found) return null;
  const weight = found[1] === undefined ? 1.1 : Number(found[1]);
  return { start: start - 1, end: end + found[0].length, weight };
}

/** The text with the selected words' weight moved by so many steps, and where these words stand in it then. */
export function moved(text, start, end, steps) {
  [start, end] = inside(text, ...wordsAt(text, start, end));
  if (start === end) return { text, start, end };
  const round = weightRound(text, start, end);
  const from = round ? round.start : start;
  const to = round ? round.end : end;
  const hundredths = Math.round((round ? round.weight : 1) * 100) + STEP * steps;
  const words = text.slice(start, end);
  const written = hundredths === 100 ? words : `(${words}:${String(hundredths / 100)})`;
  const first = from + (hundredths === 100 ? 0 : 1);
  return { text: text.slice(0, from) + written + text.slice(to), start: first, end: first + words.length };
}

/** A selection that takes in its whole bracket stands for what is in it. */
function inside(text, start, end) {
  const whole = /^\((.*?)(?:\s*:\s*[+-]?\d*\.?\d+\s*)?\)$/su.exec(text.slice(start, end));
  return whole && !/[()]/.test(whole[1]) ? [start + 1, start + 1 + whole[1].length] : [start, end];
}

/** Listen for the keys in every prompt box of the page, also in those that come later. */
export function listen(root) {
  root.addEventListener("keydown", (event) => {
    const box = event.target;
    const steps = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!steps || !(event.ctrlKey || event.metaKey) || !box.matches?.(".pa-prompt textarea")) return;
    event.preventDefault();
    const after = moved(box.value, box.selectionStart, box.selectionEnd, steps);
    // As if it had been typed, so that the page hears of it and Ctrl+Z takes it back where the browser can.
    box.select();
    if (!document.execCommand("insertText", false, after.text)) box.value = after.text;
    box.dispatchEvent(new Event("input", { bubbles: true }));
    box.setSelectionRange(after.start, after.end);
  });
}
