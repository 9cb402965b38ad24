// Moving the weight of the words under a selection: functions of a text, in the syntaxes that the page offers.

const STEP = 5; // hundredths
const NUMBER = String.raw`\d+\.?\d*|\.\d+`;
const IN_BRACKET = new RegExp(String.raw`\s*:\s*([+-]?(?:${NUMBER}))\s*$`); // (words:1.2)
const TAG = /<(?:lora|lyco|hypernet):[^<>]+>/gi;
const BEHIND = new RegExp(String.raw`^(?:(\++)|(-+)|(${NUMBER}))`); // (words)1.2  (words)++

// How each syntax reads the weight of a bracket, writes one, and the least that it can say.
const COLON = { read: readColon, write: (words, weight) => `(${words}:${weight})`, least: -Infinity };
const SYNTAXES = {
  a1111: COLON,
  comfy: COLON,
  compel: { read: readBehind, write: (words, weight) => `(${words})${weight}`, least: 0 },
};

/**
 * What to write where, so that the weight of the selected words, or of the word at the cursor, is moved by so many
 * steps: `written` for the text from `from` to `to`; the words are then at `start` to `end`. null where there are none.
 */
export function moved(text, start, end, steps, syntax = "a1111") {
  const { read, write, least } = SYNTAXES[syntax];
  const brackets = pairs(text).map(([open, close]) => read(text, open, close));
  const words = meant(text, start, end, brackets);
  if (!words || isNoWord(text, ...words)) return null;
  const round = brackets.find(({ inner }) => inner[0] === words[0] && inner[1] === words[1]);
  const bare = { from: words[0], to: words[1], weight: 1 };
  const { from, to, weight } = round ?? signsBehind(text, ...words, syntax) ?? bare;
  const hundredths = Math.max(least * 100, Math.round(weight * 100) + STEP * steps);
  const inside = text.slice(...words);
  const written = hundredths === 100 ? inside : write(inside, String(hundredths / 100));
  const first = from + (hundredths === 100 ? 0 : 1);
  return { from, to, written, start: first, end: first + inside.length };
}

/** The words that a selection or a cursor stands for; null where there are none. */
function meant(text, start, end, brackets) {
  const behind = brackets.find(({ to, inner }) => start > inner[1] && end < to); // in a bracket's number
  if (behind) return behind.inner;
  let words = wordsAt(text, start, end);
  if (words[0] === words[1]) {
    return brackets.find(({ from, to }) => start === from || start === to)?.inner ?? null;
  }
  words = grown(words, brackets);
  return brackets.find(({ from, to }) => from === words[0] && to === words[1])?.inner ?? words;
}

/** A range grown to whole words, without the blanks and commas at its ends. */
function wordsAt(text, start, end) {
  const isPlain = (at) => /[\p{L}\p{M}\p{N}_]/u.test(text[at] ?? "");
  const letter = (at) => isPlain(at) || (/['’-]/.test(text[at] ?? "") && isPlain(at - 1) && isPlain(at + 1));
  if (start === end && !letter(start) && letter(start - 1)) start = end = start - 1;
  while (start < end && /[\s,]/.test(text[start])) start += 1;
  while (end > start && /[\s,]/.test(text[end - 1])) end -= 1;
  while (letter(start) && letter(start - 1)) start -= 1;
  while (letter(end) && (end === start || letter(end - 1))) end += 1;
  return [start, end];
}

/** A range grown until every bracket is in it, round it, or beside it. */
function grown([start, end], brackets) {
  const isCut = ({ from, to, inner }) =>
    start < to && from < end && !(start <= from && to <= end) && !(inner[0] <= start && end <= inner[1]);
  for (let cut = brackets.find(isCut); cut; cut = brackets.find(isCut)) {
    start = Math.min(start, cut.from);
    end = Math.max(end, cut.to);
  }
  return [start, end];
}

/** Where round brackets open and close, those with a backslash left out. */
function pairs(text) {
  const open = [];
  const found = [];
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "(") open.push(at);
    else if (text[at] === ")" && open.length) found.push([open.pop(), at]);
  }
  return found;
}

/** A bracket of A1111 or ComfyUI: where it begins and ends, the words in it, and their weight. */
function readColon(text, open, close) {
  const content = text.slice(open + 1, close);
  const number = IN_BRACKET.exec(content);
  const inner = trimmed(text, open + 1, number ? open + 1 + number.index : close);
  return { from: open, to: close + 1, inner, weight: number ? Number(number[1]) : 1.1 };
}

/** A bracket of compel, likewise. */
function readBehind(text, open, close) {
  const [behind, weight] = behindAt(text, close + 1);
  return { from: open, to: close + 1 + behind.length, inner: trimmed(text, open + 1, close), weight };
}

/** A word of compel with its signs: `word++`. */
function signsBehind(text, start, end, syntax) {
  const signs = syntax === "compel" ? /^(?:\++|-+)(?=[\s),.]|$)/.exec(text.slice(end)) : null;
  return signs && { from: start, to: end + signs[0].length, weight: behindAt(text, end)[1] };
}

function behindAt(text, at) {
  const found = BEHIND.exec(text.slice(at));
  if (!found) return ["", 1];
  const [all, more, less, number] = found;
  return [all, more ? 1.1 ** more.length : less ? 0.9 ** less.length : Number(number)];
}

function trimmed(text, start, end) {
  while (start < end && /\s/.test(text[start])) start += 1;
  while (end > start && /\s/.test(text[end - 1])) end -= 1;
  return [start, end];
}

/** Whether a range is no text of the prompt: the number of a schedule, or a part of a tag such as `<lora:x:1>`. */
function isNoWord(text, start, end) {
  if (/^[\d.]+$/.test(text.slice(start, end)) && /:\s*[\d.]*$/.test(text.slice(0, start))) return true;
  return [...text.matchAll(TAG)].some((tag) => start < tag.index + tag[0].length && tag.index < end);
}
