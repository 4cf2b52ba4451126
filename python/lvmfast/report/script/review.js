// All matches of a report, to be filtered, searched, sorted and read side by side.
//
// The markup is in review.html.j2, what is marked in texts.js, where matches come from in sources.js. Data are
// put into the page as text and never as markup.

const PER_PAGE = 20;
const DECISIONS = ["real", "boilerplate", "unsure"];
const WORDS_OF_SIDE = { train: "Training text", eval: "Evaluation text" };

const number = (value) => value.toLocaleString("en-US");
const counted = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;

/** A share of 1, with as many decimals as it takes to tell it from nothing and from all (lvmfast/shown.py). */
function percent(share) {
  const least = Math.min(share, 1 - share);
  const decimals = least > 0 && least < 0.5 ? Math.max(1, Math.ceil(-Math.log10(100 * least) - 1e-9)) : 1;
  return `${(100 * share).toFixed(decimals)}%`;
}

/** What a match stands for beside its two rows (lvmfast/report/pairs.py). */
function rowsBehind(row, level, oneSet) {
  const [train, evaluation] = [row.train_count ?? 1, row.eval_count ?? 1];
  if (oneSet && level.cosine && row.score === 1 && train === evaluation) return train > 2 ? `${number(train)} equal rows` : "";
  const pairs = oneSet && level.keyed ? (train * (train - 1)) / 2 : train * evaluation;
  return pairs > 1 ? counted(pairs, "row pair") : "";
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

class Review {
  constructor(root, source, config) {
    this.root = root;
    this.source = source;
    this.config = config;
    this.offset = 0;
    this.asked = 0;
    this.form = root.querySelector("form");
    this.list = root.querySelector(".matches");
    this.status = root.querySelector("[role=status]");
    this.pages = root.querySelector(".pages");
    this.#fill();
    this.#listen();
  }

  // The form.

  #fill() {
    const { levels, fields, files } = this.config;
    const distinct = (values) => [...new Set(values)].filter((value) => value != null);
    this.#choices("level", levels.map((level) => level.name));
    const benchmarks = distinct(files.map((file) => file.benchmark));
    this.benchmarks = benchmarks.length;
    this.#choices("benchmark", benchmarks);
    this.#choices("field", distinct(fields.flatMap((names) => names.split(", "))));
    const names = distinct(files.map((file) => file.name));
    this.root.querySelector("datalist").append(...names.slice(0, 1000).map((name) => element("option", { value: name })));
    const decided = Boolean(this.source.decide) || this.config.decided;
    this.form.elements.decision.closest("label").hidden = !decided;
    for (const name of ["level", "benchmark", "field"]) {
      const { options } = this.form.elements[name];
      this.form.elements[name].closest("label").hidden = options.length < 3;
    }
    for (const hint of this.root.querySelectorAll("[data-decides]")) hint.hidden = !this.source.decide;
  }

  #choices(name, values) {
    this.form.elements[name].append(...values.map((value) => element("option", { value }, visible(value))));
  }

  #listen() {
    let waiting = 0;
    const changed = () => {
      this.offset = 0;
      return this.show();
    };
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("reset", () => setTimeout(changed));
    this.form.addEventListener("input", (event) => {
      clearTimeout(waiting);
      if (event.target.name === "sort") this.form.elements.ascending.checked = !["score", "rows"].includes(event.target.value);
      waiting = setTimeout(changed, ["text", "search", "number"].includes(event.target.type) ? 120 : 0);
    });
    this.pages.addEventListener("click", (event) => {
      const step = event.target.closest("button")?.dataset.step;
      if (step) this.#turn(step);
    });
    this.pages.querySelector("input").addEventListener("change", (event) => this.#turn(event.target.value));
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  #asks() {
    const value = (name) => this.form.elements[name].value;
    const bound = (name) => (value(name) === "" ? null : Number(value(name)) / 100);
    return {
      level: value("level"),
      file: value("file").trim(),
      field: value("field"),
      benchmark: value("benchmark"),
      decision: value("decision"),
      min: bound("min"),
      max: bound("max"),
      search: value("search"),
      sort: value("sort"),
      descending: !this.form.elements.ascending.checked,
    };
  }

  // The list.

  async show() {
    const asked = ++this.asked;
    this.root.setAttribute("aria-busy", "true");
    let found;
    try {
      found = await this.source.query({ ...this.#asks(), offset: this.offset, limit: PER_PAGE });
    } catch (error) {
      if (asked === this.asked) this.#say(`The matches cannot be shown: ${error.message}`);
      return;
    }
    if (asked !== this.asked) return; // something else was asked meanwhile
    this.total = found.total;
    this.list.replaceChildren(...found.rows.map((row, n) => this.#card(row, this.offset + n + 1)));
    this.#say(this.#counted(found));
    const last = Math.max(1, Math.ceil(found.total / PER_PAGE));
    const page = Math.floor(this.offset / PER_PAGE) + 1;
    const input = this.pages.querySelector("input");
    [input.value, input.max] = [page, last];
    this.pages.querySelector("[data-last]").textContent = number(last);
    for (const button of this.pages.querySelectorAll("button")) {
      button.disabled = ["first", "previous"].includes(button.dataset.step) ? page === 1 : page === last;
    }
    this.pages.hidden = last === 1;
    this.root.dataset.shown = String(asked);
  }

  #say(words) {
    this.status.textContent = words;
    this.root.removeAttribute("aria-busy");
  }

  #counted({ total, rows }) {
    if (!total) return "No match fits these filters. Clear one of them to see more.";
    const all = this.config.carried;
    const of = total === all || this.source.decide ? counted(total, "match", "matches") : `${counted(total, "match", "matches")} of ${number(all)}`;
    return rows.length < total ? `${of}; shown: ${number(this.offset + 1)} to ${number(this.offset + rows.length)}` : of;
  }

  async #turn(step) {
    const last = Math.max(1, Math.ceil(this.total / PER_PAGE));
    const now = Math.floor(this.offset / PER_PAGE) + 1;
    const page = { first: 1, previous: now - 1, next: now + 1, last }[step] ?? Math.trunc(Number(step));
    this.offset = (Math.min(Math.max(page || 1, 1), last) - 1) * PER_PAGE;
    await this.show();
    this.status.scrollIntoView({ block: "start" });
    this.status.focus({ preventScroll: true });
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    const card = event.target.closest("#review article");
    const first = this.list.firstElementChild;
    const next = { j: card ? card.nextElementSibling : first, k: card?.previousElementSibling }[event.key];
    if (next) next.focus();
    else if (card && this.source.decide && /^[0-3]$/.test(event.key)) card.querySelectorAll(".decide button")[(Number(event.key) + 3) % 4].click();
    else return;
    event.preventDefault();
  }

  // One match.

  #card(row, place) {
    const level = this.config.levels.find((one) => one.name === row.level);
    const title = `match-${place}`;
    const card = element("article", { class: "pair", tabindex: "-1", "aria-labelledby": title, "data-id": row.id });
    const head = element("header", {}, element("h3", { id: title }, `${number(place)}.`), ...this.#badges(row, level));
    const body = element("div", { class: "texts" });
    const foot = element("footer");
    card.append(head, body, foot);
    card.tabIndex = 0;
    this.#fillCard(card, row, level, false);
    if (this.source.decide) card.append(this.#decisions(card, row));
    return card;
  }

  #badges(row, level) {
    const badge = (words, kind = "") => element("span", { class: `badge ${kind}` }, words);
    const score = level.excerpts ? `${percent(row.score)} covered` : level.cosine ? row.score.toFixed(6) : "";
    const behind = rowsBehind(row, level, this.config.one_set);
    return [
      element("span", { class: "badge" }, element("b", {}, row.level), score ? ` ${score}` : ""),
      row.benchmark && this.benchmarks > 1 ? badge(visible(row.benchmark)) : null,
      row.field ? badge(row.field, row.field.includes("answer") ? "serious" : "") : null,
      behind ? badge(behind) : null,
      row.decision ? badge(`reviewed: ${row.decision}`, "decided") : null,
    ].filter(Boolean);
  }

  #fillCard(card, row, level, all) {
    const marked = markedTexts(row, level);
    const [body, foot] = [card.querySelector(".texts"), card.querySelector("footer")];
    let left = 0;
    const sides = ["train", "eval"].map((side) => {
      const text = row[side].text;
      const pieces = text === null ? null : piecesOf(text, marked[side], all);
      left += (pieces ?? []).filter((piece) => piece.left).length;
      return this.#side(row[side], side, pieces);
    });
    body.replaceChildren(...sides);
    const cut = ["train", "eval"].filter((side) => this.#missing(row[side]));
    foot.replaceChildren(element("p", {}, ...legend(marked, row)));
    if (cut.length && !this.source.texts) foot.append(element("p", {}, this.#elsewhere(row, cut)));
    if (left || all || (cut.length && this.source.texts)) foot.append(this.#more(card, row, level, all));
    card.hidden = false;
  }

  /** The button that shows the whole texts, or the parts around what is marked again. */
  #more(card, row, level, all) {
    const press = async () => {
      let whole = row;
      if (!all && this.source.texts && ["train", "eval"].some((side) => this.#missing(row[side]))) {
        try {
          whole = withTexts(row, await this.source.texts(row.id));
        } catch (error) {
          this.#say(`The texts cannot be shown: ${error.message}`);
          return;
        }
      }
      this.#fillCard(card, whole, level, !all);
      card.querySelector("footer button")?.focus();
    };
    const held = !this.source.texts && ["train", "eval"].some((side) => this.#missing(row[side]));
    const more = held ? "Show all that this page has of the texts" : "Show the whole texts";
    return element("button", { type: "button", "aria-expanded": String(all), onclick: press }, all ? "Show less" : more);
  }

  /** Characters of a text that are not at hand. */
  #missing(side) {
    return side.text === null || side.length == null ? 0 : side.length - pointsIn(side.text);
  }

  #elsewhere(row, sides) {
    const told = sides.map((side) => {
      const from = row[side].begin ?? 0;
      const end = from + pointsIn(row[side].text);
      return `characters ${number(from + 1)} to ${number(end)} of ${number(row[side].length)} in ${side}`;
    });
    return `This page has ${told.join(", ")}; row ${number(Number(row.id))} of matches.parquet has all.`;
  }

  #side(side, name, pieces) {
    if (side.row === null) return element("div", {}, element("p", { class: "where" }, element("b", {}, "its own context")));
    const parts = [`row ${number(side.row)}${side.line == null ? "" : `, line ${number(side.line)}`}`];
    if (side.position != null) parts.push(`place ${side.position} of its context`);
    const where = element("p", { class: "where" }, element("b", {}, name), " · ", element("bdi", {}, visible(side.file)), `, ${parts.join(" · ")}`);
    for (const [key, word] of [["doc_id", "document"], ["chunk_id", "chunk"]]) {
      if (side[key] != null) where.append(` · ${word} `, element("bdi", {}, visible(side[key])));
    }
    if (!pieces) return element("div", {}, where, element("p", { class: "note" }, "No text."));
    const text = element("p", { class: "text", dir: "auto", tabindex: "0", role: "region", "aria-label": WORDS_OF_SIDE[name] });
    text.append(...pieces.map(drawn));
    return element("div", {}, where, text);
  }

  // Decisions, of a source that takes them.

  #decisions(card, row) {
    const said = element("span", { role: "status", class: "note" });
    const note = element("input", { type: "text", value: row.note ?? "", maxlength: "2000" });
    const buttons = [...DECISIONS, null].map((decision, n) =>
      element("button", { type: "button", "aria-pressed": String(row.decision === decision), onclick: () => decide(decision) },
        `${decision ?? "undecided"} `, element("kbd", { "aria-hidden": "true" }, String((n + 1) % 4))));
    const decide = async (decision) => {
      try {
        await this.source.decide(row.id, decision, note.value);
      } catch (error) {
        said.textContent = `Not kept: ${error.message}`;
        return;
      }
      row.decision = decision;
      buttons.forEach((button, n) => button.setAttribute("aria-pressed", String((DECISIONS[n] ?? null) === decision)));
      card.querySelector(".decided")?.remove();
      if (decision) card.querySelector("header").append(element("span", { class: "badge decided" }, `reviewed: ${decision}`));
      said.textContent = decision ? `Kept as ${decision}.` : "Kept as undecided.";
    };
    return element("div", { class: "decide", role: "group", "aria-label": "Decision" }, ...buttons, element("label", {}, "Note ", note), said);
  }
}

/** What is marked in both texts: spans of each, and by which rule. */
function markedTexts(row, level) {
  const { train, eval: eval_ } = row;
  if (row.runs?.length) {
    const begins = { train: train.begin ?? 0, eval: eval_.begin ?? 0 };
    const places = { train: unitsOf(train.text), eval: unitsOf(eval_.text) };
    const units = (side, from, to) => [places[side](from - begins[side]), places[side](to - begins[side])];
    const answer = row.answer ? units("train", ...row.answer) : null;
    return {
      by: "runs",
      answer,
      train: spansOfRuns(train.text, row.runs.map((run) => units("train", run[0], run[1])), answer),
      eval: spansOfRuns(eval_.text, row.runs.map((run) => units("eval", run[2], run[3])), null),
    };
  }
  const both = train.text !== null && eval_.text !== null;
  const placed = train.position != null || eval_.position != null; // vectors of a context, whose texts these are not
  if (both && level.alike && !placed) return { by: train.text === eval_.text ? "equal" : "words", ...spansOfWords(train.text, eval_.text) };
  const plain = (text) => (text ? [{ begin: 0, end: text.length, mark: "alone" }] : []);
  return { by: placed ? "context" : null, train: plain(train.text), eval: plain(eval_.text) };
}

function withTexts(row, texts) {
  const side = (name) => ({ ...row[name], text: texts[name], begin: 0, length: null });
  return { ...row, train: side("train"), eval: side("eval") };
}

function legend({ by, answer, train, eval: eval_, rough }, row) {
  const differs = [...train, ...eval_].some((span) => span.mark === "differs");
  const mark = (kind, words) => element("mark", { class: kind }, words);
  if (by === "equal") return ["The texts are equal, character by character."];
  if (by === "words" && !differs) return ["The texts differ in white space alone."];
  if (by === "words" && rough) return ["The texts are too unlike to be compared word by word: ", mark("differs", "what lies between their common beginning and end"), "."];
  if (by === "words") return ["Marked: ", mark("differs", "words that only one text has"), ". All other words are equal."];
  if (by === "context") return ["What matches is the vector at that place of the context; the texts are those of the rows."];
  if (by !== "runs") return [];
  const told = row.runs_found > row.runs.length ? `, the first ${number(row.runs.length)} of ${number(row.runs_found)}` : "";
  const parts = ["Marked: ", mark("common", "runs of words that both texts have"), told];
  if (differs) parts.push(", ", mark("differs", "words between them that differ"));
  if (answer) parts.push(", ", mark("answer", "the answer"));
  return [...parts, ". Of the training text, the evidence has what lies between the first run and the last, and up to 200 characters before and behind."];
}

function drawn({ text, mark, left }) {
  if (left) return element("span", { class: "gap" }, ` … ${counted(left, "character")} … `);
  return ["alone", "same"].includes(mark) ? visible(text) : element("mark", { class: mark }, visible(text));
}

async function begin() {
  const root = document.getElementById("review");
  const config = JSON.parse(document.getElementById("review-config").textContent);
  const notice = document.getElementById("review-notice");
  try {
    const source = config.source === "server" ? new ServerSource(config) : await BlockSource.open(config);
    const review = new Review(root, source, config);
    await review.show();
    root.hidden = false;
    document.documentElement.classList.add("reviewing");
  } catch (error) {
    notice.textContent = `This browser cannot open the matches of this page (${error.message}); matches.parquet has them.`;
    notice.hidden = false;
  }
}

begin();
