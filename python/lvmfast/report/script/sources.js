// Where the matches come from. A source has
//
//   query({level, file, field, benchmark, decision, min, max, search, sort, descending, offset, limit})
//     -> {total, rows}, all of them optional: `file` is a part of the name of either file, `field` one of the
//     row's fields, `min` and `max` bounds of the score, `search` a part of either text in any letter case,
//     `sort` one of "score", "rows", "train", "eval";
//   texts(id) -> {train, eval}, the whole texts, or null where there are no longer ones than the rows have;
//   decide(id, decision, note) -> null or what the match is now, or null where it takes no decisions.
//
// A row is {id, level, score, coverage, benchmark, field, decision, train, eval, runs, train_count, eval_count};
// a side of it {file, row, line, doc_id, chunk_id, position, text} with, where `text` is a part of a longer one,
// `begin` (the characters before it) and `length` (of the whole). `runs` are [train_begin, train_end,
// eval_begin, eval_end] in code points of the whole texts, `answer` [begin, end] of that of train, `runs_found`
// how many there are where not all are told. What is not known is null or absent.

/** Matches in compressed blocks of the page, which report/carried.py makes. */
class BlockSource {
  texts = null;
  decide = null;

  static async open(config) {
    const blocks = Array.from(document.querySelectorAll("script[data-block]"));
    const source = new BlockSource(config, JSON.parse(await unpacked(blocks.shift())));
    source.ready = source.#load(blocks);
    return source;
  }

  constructor(config, columns) {
    this.config = config;
    this.columns = columns;
    this.held = [];
    this.lowered = [];
    this.orders = new Map();
    this.found = { search: "", texts: null };
  }

  async #load(blocks) {
    for (const block of blocks) for (const text of JSON.parse(await unpacked(block))) this.held.push(text);
    setTimeout(() => this.#lower(20_000));
  }

  /** Prepares the search, some texts at a time, while nobody waits for it. */
  #lower(most) {
    const { held, lowered } = this;
    for (let n = 0; n < most && lowered.length < held.length; n++) lowered.push(held[lowered.length].toLowerCase());
    if (lowered.length < held.length) setTimeout(() => this.#lower(most));
  }

  async query(asked) {
    const places = await this.#matching(asked);
    const rows = [];
    const total = places.length;
    await this.ready;
    for (let n = asked.offset ?? 0; n < Math.min(total, (asked.offset ?? 0) + (asked.limit ?? 20)); n++) {
      rows.push(this.#row(places[asked.descending === false ? total - 1 - n : n]));
    }
    return { total, rows };
  }

  async #matching(asked) {
    const { level, score, fields, train, eval: eval_ } = this.columns;
    const { levels, files, fields: named } = this.config;
    const numbers = (names, wanted) => names.map((name) => wanted === name);
    const tests = [];
    if (asked.level) {
      const of = numbers(levels.map((one) => one.name), asked.level);
      tests.push((n) => of[level[n]]);
    }
    if (asked.benchmark) {
      const of = files.map((file) => file.benchmark === asked.benchmark);
      tests.push((n) => of[eval_.file[n]]);
    }
    if (asked.field) {
      const of = named.map((names) => names.split(", ").includes(asked.field));
      tests.push((n) => of[fields?.[n]]);
    }
    if (asked.file) {
      const part = asked.file.toLowerCase();
      const of = files.map((file) => file.name.toLowerCase().includes(part));
      tests.push((n) => of[train.file[n]] || of[eval_.file[n]]);
    }
    if (asked.decision) {
      const { decision } = this.columns;
      tests.push((n) => (decision?.[n] ?? "none") === asked.decision);
    }
    if (asked.min != null) tests.push((n) => score[n] >= asked.min);
    if (asked.max != null) tests.push((n) => score[n] <= asked.max);
    if (asked.search) {
      const of = await this.#searched(asked.search);
      tests.push((n) => of[train.text[n]] || of[eval_.text[n]]);
    }
    const order = this.#order(asked.sort || "score");
    return tests.length ? order.filter((n) => tests.every((test) => test(n))) : order;
  }

  async #searched(search) {
    if (this.found.search !== search || !this.found.texts) {
      await this.ready;
      this.#lower(Infinity);
      const part = search.toLowerCase();
      this.found = { search, texts: this.lowered.map((text) => text.includes(part)) };
    }
    return this.found.texts;
  }

  /** The matches from the highest or the last down. */
  #order(by) {
    if (!this.orders.has(by)) {
      const { level, score, answer, train, eval: eval_ } = this.columns;
      const count = (n) => (train.count?.[n] ?? 1) * (eval_.count?.[n] ?? 1);
      const answered = (n) => (answer?.[n] ? 1 : 0);
      const place = (side) => (m, n) => side.file[n] - side.file[m] || side.row[n] - side.row[m];
      const compare = {
        score: (m, n) => score[n] - score[m] || answered(n) - answered(m) || level[m] - level[n] || count(n) - count(m) || m - n,
        rows: (m, n) => count(n) - count(m) || score[n] - score[m] || m - n,
        train: (m, n) => place(train)(m, n) || n - m,
        eval: (m, n) => place(eval_)(m, n) || n - m,
      }[by];
      this.orders.set(by, Uint32Array.from({ length: score.length }, (_, n) => n).sort(compare));
    }
    return this.orders.get(by);
  }

  #row(n) {
    const { levels, fields, files } = this.config;
    const { columns } = this;
    const level = levels[columns.level[n]];
    const file = files[columns.eval.file[n]];
    return {
      id: String(columns.place[n]),
      level: level.name,
      score: columns.score[n],
      coverage: level.excerpts ? columns.score[n] : null,
      benchmark: file?.benchmark ?? null,
      field: fields[columns.fields?.[n]] ?? null,
      decision: columns.decision?.[n] ?? null,
      train: this.#side(columns.train, n),
      eval: this.#side(columns.eval, n),
      runs: this.#runs(n),
      runs_found: columns.runs_found?.[n] ?? 0,
      answer: columns.answer?.[n] ?? null,
      train_count: columns.train.count?.[n] ?? null,
      eval_count: columns.eval.count?.[n] ?? null,
    };
  }

  #side(side, n) {
    const file = this.config.files[side.file[n]];
    const told = (name) => side[name]?.[n] ?? null;
    return {
      file: file?.name ?? null,
      row: told("row"),
      line: file?.first_line == null ? null : side.row[n] + file.first_line,
      doc_id: told("doc_id"),
      chunk_id: told("chunk_id"),
      position: told("position"),
      text: this.held[told("text")] ?? null,
      begin: told("begin") ?? 0,
      length: told("length"),
    };
  }

  #runs(n) {
    const { runs, runs_from: from } = this.columns;
    const found = [];
    for (let at = from?.[n] ?? 0; at < (from?.[n + 1] ?? 0); at++) found.push(runs.slice(4 * at, 4 * at + 4));
    return found;
  }
}

async function unpacked(block) {
  const packed = block.textContent.trim();
  block.remove();
  const bytes = Uint8Array.fromBase64
    ? Uint8Array.fromBase64(packed)
    : Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}

/** Matches of the server of `lvmfast review`, which speaks JSON. */
class ServerSource {
  constructor(config) {
    this.headers = config.headers ?? {};
    this.ready = Promise.resolve();
  }

  query(asked) {
    const given = Object.entries(asked).filter(([, value]) => value !== "" && value != null);
    return this.#asked(`/api/matches?${new URLSearchParams(given)}`);
  }

  texts(id) {
    return this.#asked(`/api/texts/${encodeURIComponent(id)}`);
  }

  decide(id, decision, note) {
    const headers = { "Content-Type": "application/json" };
    return this.#asked("/api/decisions", { method: "POST", headers, body: JSON.stringify({ id, decision, note }) });
  }

  async #asked(path, options = {}) {
    const answer = await fetch(path, { ...options, headers: { ...this.headers, ...options.headers } });
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(told.error ?? `The server answers ${answer.status}.`);
    return told;
  }
}
