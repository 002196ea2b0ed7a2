// Where a reasoning step ends: as kpodx/text/steps.py has it, which a test compares this with.

const OPEN_ABBREVIATIONS = /^(?:mr|mrs|ms|dr|prof|st|mt|sgt|capt|gen|rev|hon|vs|e\.g|i\.e|approx|cf|fig|eq|u\.s|u\.k|u\.n|ph\.d)$/;
const UNIT_ABBREVIATIONS =
  /^(?:a\.m|p\.m|oz|lb|lbs|ft|yd|yds|hr|hrs|min|mins|sec|secs|mph|etc|jr|sr|inc|ltd|co|corp|dept|est|avg|tsp|tbsp|pt|qt|gal)$/;
const BEFORE_DIGIT = /^(?:no|nos|pp|p|vol|ch)$/;
const LABELS =
  /^(?:plan|option|answer|is|choice|type|vitamin|grade|group|class|team|point|section|part|and|or|case|box|a|an|the|in|of)$/;
const END = /(?<stops>[.!?…]+)(?<close>["'”’»)\]}*_]*)(?<space>\s*)|\n\s*/g;
const LIST_NUMBER = /^\s*(?:[*_#]{0,4}\s?)?(?:step\s)?\d{1,2}\.\s*$/i;
const CONTINUES = new Set("=+*/×÷,;:%)");
const MARKER = /(?:\banswer\s*(?:is\b|:)|####|\\boxed\{)[\s:$*]*/gi;

/** The steps of a text; joined they are the text. */
export function stepTexts(text) {
  const steps = [];
  let start = 0;
  for (const stop of [...stepEnds(text), text.length]) {
    const piece = text.slice(start, stop);
    const hasContent = /[\p{L}\p{N}]/u.test(piece);
    if (!hasContent && steps.length) steps[steps.length - 1] += piece;
    else if (hasContent || (stop === text.length && piece)) steps.push(piece);
    else continue;
    start = stop;
  }
  return steps;
}

/** What a text announces as its answer, null where it announces none: for showing it, not for judging it. */
export function finalAnswer(text) {
  const last = [...text.matchAll(MARKER)].at(-1);
  const said = last && stepTexts(text.slice(last.index + last[0].length))[0]?.trim();
  return said?.replace(/[.!}*$\s]+$/, "") || null;
}

function stepEnds(text) {
  const ends = [];
  let start = 0;
  for (const match of text.matchAll(END)) {
    const stop = match.index + match[0].length;
    if (stop < text.length && endsStep(text, start, match, stop)) ends.push((start = stop));
  }
  return ends;
}

/** Whether a candidate, which ends at `stop`, ends the step that began at `start`. */
function endsStep(text, start, match, stop) {
  const { stops, close, space } = match.groups;
  const numberEnd = match.index + (stops ?? "").length;
  if (numberEnd - start <= 16 && LIST_NUMBER.test(text.slice(start, numberEnd))) return false;
  if (stops === undefined) return true;
  if (!space) return false;
  if (space.includes("\n")) return true;
  const following = String.fromCodePoint(text.codePointAt(stop));
  if (CONTINUES.has(following) || (close && isLower(following))) return false;
  if (stops === "…" || (stops.length > 1 && /^[.…]+$/.test(stops))) return !isLower(following);
  return stops !== "." || Boolean(close) || !isAbbreviation(text, start, match.index, following);
}

/** Whether the period closes an abbreviation or an initial, and `following` goes on with the step. */
function isAbbreviation(text, start, period, following) {
  const word = /[\p{L}\p{N}_.]{1,12}$/u.exec(text.slice(Math.max(start, period - 12), period))?.[0];
  if (word === undefined) return false;
  const lower = word.toLowerCase();
  if (OPEN_ABBREVIATIONS.test(lower)) return true;
  if (UNIT_ABBREVIATIONS.test(lower)) return !isUpper(following);
  if (BEFORE_DIGIT.test(lower)) return /\p{Nd}/u.test(following);
  if (!isUpper(following) || !/^(?:[A-Z]\.)*[A-HJ-Z]$/.test(word)) return false;
  const begun = period - word.length;
  const before = text.slice(Math.max(start, begun - 16), begun).trim().split(/\s+/).at(-1);
  return !before || !LABELS.test(before.toLowerCase().replace(/^[,:]+|[,:]+$/g, ""));
}

function isLower(character) {
  return /\p{Ll}/u.test(character);
}

function isUpper(character) {
  return /\p{Lu}/u.test(character);
}
