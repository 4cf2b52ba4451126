// What is marked in the two texts of a match, and which parts of long texts are shown.
//
// Spans and pieces are plain objects: {begin, end, mark} of a text, in UTF-16 units, and {text, mark} or {left}.
// A mark is "common" (a run of words that both texts have), "same" (a word that both have), "differs",
// "answer" or "alone" (outside of all runs).

/** Units shown of either end of a longer span, by mark. */
const ENDS = { common: 600, answer: 600, same: 300, differs: 200, alone: 200 };
/** Units shown of one text until a reader asks for more. */
const MOST_SHOWN = 4000;
/** Words that two texts may have apart before they count as unlike; the comparison is quadratic in it. */
const MOST_APART = 1000;

const HIDDEN =
  /(?![\u200c\u200d\n\t])[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Zl}\p{Zp}]|[\u115f\u1160\u2800\u3164\uffa0]/gu;
// Scripts without spaces between words are compared letter by letter.
const UNSPACED = "\\p{sc=Han}\\p{sc=Hiragana}\\p{sc=Katakana}\\p{sc=Thai}\\p{sc=Lao}\\p{sc=Khmer}\\p{sc=Myanmar}";
const WORD = new RegExp(`\\s*(?:[${UNSPACED}]\\p{M}*|(?:(?![${UNSPACED}])\\S)+)`, "gu");
const LETTER = /[\p{L}\p{N}]/u;
const SURROGATE = /[\ud800-\udfff]/;

/** A text with what controls, reorders or hides text written out as ⟨U+001B⟩, as lvmfast/shown.py does it. */
function visible(text) {
  const written = (c) => `\u27e8U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  return text.replace(HIDDEN, written);
}

/** The unit at which each code point of a text begins, as a function. */
function unitsOf(text) {
  if (!SURROGATE.test(text)) return (point) => Math.min(Math.max(point, 0), text.length);
  const starts = [];
  let unit = 0;
  for (const character of text) {
    starts.push(unit);
    unit += character.length;
  }
  return (point) => (point < starts.length ? starts[Math.max(point, 0)] : text.length);
}

/** How many code points a text has. */
function pointsIn(text) {
  let low = 0;
  if (SURROGATE.test(text)) for (const character of text) low += character.length - 1;
  return text.length - low;
}

/** All of a text, given its runs and its answer as [begin, end] in units. */
function spansOfRuns(text, runs, answer) {
  const sorted = runs.filter(([begin, end]) => begin < end).sort((a, b) => a[0] - b[0]);
  const first = sorted.length ? sorted[0][0] : 0;
  const last = Math.max(...sorted.map((run) => run[1]), 0);
  const spans = [];
  const push = (begin, end, mark) => begin < end && spans.push({ begin, end, mark });
  const between = (begin, end) =>
    begin >= first && end <= last && LETTER.test(text.slice(begin, end)) ? "differs" : "alone";
  const free = answer ? [[0, answer[0]], [answer[1], text.length]] : [[0, text.length]];
  free.forEach(([start, stop], part) => {
    let done = start;
    for (const [low, high] of sorted) {
      const begin = Math.max(low, done);
      const end = Math.min(high, stop);
      if (begin >= end) continue;
      push(done, begin, between(done, begin));
      push(begin, end, "common");
      done = end;
    }
    push(done, stop, between(done, stop));
    if (answer && part === 0) push(answer[0], answer[1], "answer");
  });
  return spans;
}

/** Both texts word by word: {train, eval} as spans, and `rough` where they are too unlike to be compared. */
function spansOfWords(train, eval_) {
  const left = train.match(WORD) ?? [];
  const right = eval_.match(WORD) ?? [];
  const numbers = new Map();
  const numbered = (words) =>
    words.map((word) => {
      const key = word.trim();
      if (!numbers.has(key)) numbers.set(key, numbers.size);
      return numbers.get(key);
    });
  const [sameLeft, sameRight, rough] = sharedWords(numbered(left), numbered(right));
  return { train: joined(train, left, sameLeft), eval: joined(eval_, right, sameRight), rough };
}

function joined(text, words, same) {
  const spans = [];
  let done = 0;
  words.forEach((word, place) => {
    const mark = same[place] ? "same" : "differs";
    const last = spans[spans.length - 1];
    if (last && last.mark === mark) last.end += word.length;
    else spans.push({ begin: done, end: done + word.length, mark });
    done += word.length;
  });
  if (done < text.length) spans.push({ begin: done, end: text.length, mark: "same" }); // white space
  return spans;
}

/** Which elements of two sequences a longest common one has; after Myers (1986), An O(ND) difference algorithm. */
function sharedWords(a, b) {
  const sameA = new Uint8Array(a.length);
  const sameB = new Uint8Array(b.length);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  const least = Math.min(a.length, b.length) - head;
  while (tail < least && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  sameA.fill(1, 0, head).fill(1, a.length - tail);
  sameB.fill(1, 0, head).fill(1, b.length - tail);
  const [n, m] = [a.length - head - tail, b.length - head - tail];
  const most = Math.min(n + m, MOST_APART);
  const reach = new Int32Array(2 * most + 3);
  const rounds = [];
  const origin = most + 1;
  const down = (k, d, at) => k === -d || (k !== d && at(k - 1) < at(k + 1));
  for (let d = 0; d <= most; d++) {
    rounds.push(reach.slice(origin - d - 1, origin + d + 2));
    for (let k = -d; k <= d; k += 2) {
      let x = down(k, d, (j) => reach[origin + j]) ? reach[origin + k + 1] : reach[origin + k - 1] + 1;
      while (x < n && x - k < m && a[head + x] === b[head + x - k]) x++;
      reach[origin + k] = x;
      if (x < n || x - k < m) continue;
      walkBack(rounds, n, m, down, (i, j) => {
        sameA[head + i] = 1;
        sameB[head + j] = 1;
      });
      return [sameA, sameB, false];
    }
  }
  return [sameA, sameB, true];
}

function walkBack(rounds, n, m, down, same) {
  let [x, y] = [n, m];
  for (let d = rounds.length - 1; d >= 0; d--) {
    const at = (k) => rounds[d][k + d + 1];
    const k = x - y;
    const from = d === 0 ? 0 : down(k, d, at) ? k + 1 : k - 1;
    const [toX, toY] = d === 0 ? [0, 0] : [at(from), at(from) - from];
    while (x > toX && y > toY) same(--x, --y);
    [x, y] = [toX, toY];
  }
}

/** The spans of a text as pieces; long ones are cut to their ends unless `all` is asked for. */
function piecesOf(text, spans, all) {
  const wanted = all ? spans : spans.flatMap((span, place) => ends(span, place, spans.length));
  const pieces = [];
  let [done, room] = [0, all ? Infinity : MOST_SHOWN];
  const leave = (end) => end > done && pieces.push({ left: pointsIn(text.slice(done, end)) });
  for (const { begin, end, mark } of wanted) {
    if (room <= 0) break;
    const [low, high] = [whole(text, begin), whole(text, end)];
    leave(low);
    pieces.push({ text: text.slice(low, high), mark });
    done = high;
    room -= high - low;
  }
  leave(text.length);
  return pieces;
}

function ends(span, place, spans) {
  const { begin, end, mark } = span;
  const quiet = mark === "alone" || mark === "same";
  if (spans === 1) return [{ begin, end: Math.min(end, begin + MOST_SHOWN / 2), mark }];
  const head = quiet && place === 0 ? 0 : ENDS[mark]; // before what matters its end is enough
  const tail = quiet && place === spans - 1 ? 0 : ENDS[mark];
  if (end - begin <= 2 * (head + tail)) return [span];
  const kept = [];
  if (head) kept.push({ begin, end: begin + head, mark });
  if (tail) kept.push({ begin: end - tail, end, mark });
  return kept;
}

/** A place that parts no pair of surrogates. */
function whole(text, unit) {
  const code = text.charCodeAt(unit);
  return code >= 0xdc00 && code <= 0xdfff ? unit + 1 : unit;
}
