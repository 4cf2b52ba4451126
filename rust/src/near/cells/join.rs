//! The join of one side with itself, pair of cells by pair of cells.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::{Bound, Centroids, Nearest, Panels, Points, TASK_ROWS, tile_of};
use crate::error::ScanError;
use crate::kernel::{Codes, Kernel, SIEVE_LANES, SIEVE_ROWS};
use crate::near::codes::{Encoder, Scratch as Coding, fill_lane};
use crate::near::costs::{routing_cycles, test_cycles, tile_cycles};
use crate::near::rows::Rows;
use crate::near::score::{Pair, cosine};
use crate::parallel::Watch;

/// Rows of a cell that are joined at a time, at most.
const CHUNK_ROWS: usize = 1024;

/// Right rows of a step: as many as a kernel takes at once.
const COLUMNS: usize = 2 * SIEVE_LANES;

/// Pairs of rows that are tested one by one: too few to be packed for the first tile.
const FEW: usize = 48;

/// Share of the budget that may be spent before a task has ended.
const ADVANCE: f64 = 0.05;

/// Candidates that are scored between two looks at the watch.
const SCORES_PER_CHECK: usize = 4096;

/// Neighbouring rows of one cell, as places in the order by cell.
struct Chunk {
    cell: usize,
    rows: Range<usize>,
}

/// A row in a join: its margin to the other cell, and its place in the order; sorted by margin.
type Entry = i64;

fn entry(margin: f32, place: usize) -> Entry {
    let bits = margin.to_bits() as i32;
    // The order of float32 values is that of their bits, but for the sign.
    let key = bits ^ (((bits >> 31) as u32) >> 1) as i32;
    (i64::from(key) << 32) | place as i64
}

fn margin(entry: Entry) -> f32 {
    let key = (entry >> 32) as i32;
    f32::from_bits((key ^ (((key >> 31) as u32) >> 1) as i32) as u32)
}

fn place(entry: Entry) -> usize {
    entry as u32 as usize
}

/// Rows of one side in the order of their cells, encoded.
pub(in crate::near) struct Join<'a> {
    pub encoder: Encoder<'a>,
    pub side: Rows<'a>,
    pub threshold: f64,
    /// The second test: largest square of the distance of two projections in float32.
    pub limit: f32,
    pub bound: Bound,
    /// Cycles that the whole may cost; it is given up as soon as more is to be expected.
    pub budget: f64,
}

/// What a join found.
#[derive(Default)]
pub(in crate::near) struct Joined {
    /// All pairs in chunks, or none if the join was not tried or was given up.
    pub found: Option<Vec<Vec<Pair>>>,
    /// How many cells there were.
    pub cells: usize,
    /// Units of progress given to the watch.
    pub advanced: usize,
}

/// The rows by cell.
pub(in crate::near) struct Order {
    /// The row at each place.
    rows: Vec<u32>,
    /// x.c - |c|^2 / 2 of the row at each place and the centroid of its cell.
    scores: Vec<f32>,
    chunks: Vec<Chunk>,
}

impl Order {
    pub fn of(
        centroids: &Centroids,
        points: Points<'_>,
        kernel: &Kernel,
        watch: &Watch,
    ) -> Result<Self, ScanError> {
        let nearest: Vec<Nearest> = centroids.nearest(points, kernel, watch)?;
        let mut starts = vec![0usize; centroids.len() + 1];
        for &(cell, _) in &nearest {
            starts[cell as usize + 1] += 1;
        }
        for cell in 0..centroids.len() {
            starts[cell + 1] += starts[cell];
        }
        let mut chunks = Vec::new();
        for (cell, bounds) in starts.windows(2).enumerate() {
            for from in (bounds[0]..bounds[1]).step_by(CHUNK_ROWS) {
                chunks.push(Chunk { cell, rows: from..(from + CHUNK_ROWS).min(bounds[1]) });
            }
        }
        let (mut rows, mut scores) = (vec![0; nearest.len()], vec![0.0; nearest.len()]);
        for (row, &(cell, score)) in nearest.iter().enumerate() {
            let place = &mut starts[cell as usize];
            rows[*place] = row as u32;
            scores[*place] = score;
            *place += 1;
        }
        Ok(Self { rows, scores, chunks })
    }

    /// Puts the values of the rows, `width` each, into this order.
    pub fn apply(&self, values: &mut [f32], width: usize) {
        permute(&self.rows, values, width);
    }

    /// Puts them back.
    pub fn undo(&self, values: &mut [f32], width: usize) {
        let mut inverse = vec![0; self.rows.len()];
        for (place, &row) in self.rows.iter().enumerate() {
            inverse[row as usize] = place as u32;
        }
        permute(&inverse, values, width);
    }
}

/// Puts row `sources[i]` at place i, one cycle of the permutation after the other.
fn permute(sources: &[u32], values: &mut [f32], width: usize) {
    let mut placed = vec![false; sources.len()];
    let mut first = vec![0.0; width];
    for start in 0..sources.len() {
        if placed[start] {
            continue;
        }
        first.copy_from_slice(&values[start * width..][..width]);
        let mut place = start;
        loop {
            placed[place] = true;
            let source = sources[place] as usize;
            if source == start {
                values[place * width..][..width].copy_from_slice(&first);
                break;
            }
            values.copy_within(source * width..(source + 1) * width, place * width);
            place = source;
        }
    }
}

/// The codes of all rows, as the left and as the right side of a tile.
struct Coded {
    bytes: Vec<u8>,
    starts: Vec<[i16; 2]>,
    needs: Vec<i16>,
}

impl Coded {
    fn of(encoder: Encoder<'_>, projections: &[f32], watch: &Watch) -> Result<Self, ScanError> {
        let (first, width) = (encoder.basis.first, encoder.basis.width);
        let rows = projections.len() / width;
        let mut coded =
            Self { bytes: vec![0; rows * first], starts: vec![[0; 2]; rows], needs: vec![0; rows] };
        coded
            .bytes
            .par_chunks_mut(TASK_ROWS * first)
            .zip(coded.starts.par_chunks_mut(TASK_ROWS))
            .zip(coded.needs.par_chunks_mut(TASK_ROWS))
            .zip(projections.par_chunks(TASK_ROWS * width))
            .try_for_each_init(
                || (Vec::new(), Vec::new(), Coding::default()),
                |(filled_bytes, filled_starts, coding), (((bytes, starts), needs), projections)| {
                    watch.check()?;
                    let need = |row: &_| encoder.need(row);
                    encoder.left(projections, need, filled_bytes, filled_starts, coding);
                    bytes.copy_from_slice(&filled_bytes[..bytes.len()]);
                    starts.copy_from_slice(&filled_starts[..starts.len()]);
                    for ((need, start), code) in needs.iter_mut().zip(starts).zip(bytes.chunks_exact(first)) {
                        *need = encoder.need_of(code, *start);
                    }
                    Ok::<_, ScanError>(())
                },
            )?;
        Ok(coded)
    }
}

/// What the work has cost so far, seen by all threads.
struct Gauge {
    budget: f64,
    tasks: usize,
    done: AtomicU64,
    spent: AtomicU64,
}

impl Gauge {
    /// Adds to the cost; false when it has become too much for what is done.
    fn spend(&self, cycles: f64) -> bool {
        let spent = cycles as u64 + self.spent.fetch_add(cycles as u64, Ordering::Relaxed);
        let done = self.done.load(Ordering::Relaxed) as f64 / self.tasks as f64;
        spent as f64 <= self.budget * (done + ADVANCE)
    }
}

impl Join<'_> {
    /// Every pair that scores at or above the threshold, each once, or none if that is too expensive. The
    /// projections are in the order of the cells.
    pub fn scan(
        &self,
        order: &Order,
        centroids: &Centroids,
        projections: &[f32],
        units: usize,
        watch: &Watch,
    ) -> Result<Joined, ScanError> {
        let coded = Coded::of(self.encoder, projections, watch)?;
        let lanes = self.encoder.kernel.tile_lanes();
        let cells = order.chunks.iter().map(|chunk| chunk.cell);
        let panels = Panels::of(centroids, cells.collect::<Vec<_>>().into_iter(), lanes);
        let groups = panels.len();
        let tasks: Vec<(usize, usize)> =
            (0..groups).flat_map(|right| (0..=right).map(move |left| (left, right))).collect();
        let roundings = self.bound.roundings(centroids);
        let context = Context { join: self, order, centroids, projections, coded, panels, roundings };
        let gauge = Gauge {
            budget: self.budget,
            tasks: tasks.len(),
            done: AtomicU64::new(0),
            spent: AtomicU64::new(0),
        };
        // Tasks differ by what part of the space they are in: scattered, the first ones speak for all.
        let stride = (1..).map(|i| tasks.len() * 5 / 8 + i).find(|&s| coprime(s, tasks.len())).unwrap_or(1);
        let found: Vec<Option<Vec<Pair>>> = (0..tasks.len())
            .into_par_iter()
            .with_max_len(1)
            .map_init(Scratch::default, |scratch, task| {
                watch.check()?;
                let (left, right) = tasks[task * stride % tasks.len()];
                let pairs = context.task(left, right, &gauge, scratch, watch)?;
                if pairs.is_some() {
                    let done = gauge.done.fetch_add(1, Ordering::Relaxed) as usize;
                    let share = |tasks_done: usize| tasks_done * units / tasks.len();
                    watch.advance((share(done + 1) - share(done)) as u64);
                }
                Ok(pairs)
            })
            .collect::<Result<_, ScanError>>()?;
        let found: Option<Vec<Vec<Pair>>> = found.into_iter().collect();
        let done = gauge.done.load(Ordering::Relaxed) as usize;
        Ok(Joined { found, cells: centroids.len(), advanced: done * units / gauge.tasks })
    }
}

fn coprime(mut a: usize, mut b: usize) -> bool {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

struct Context<'a> {
    join: &'a Join<'a>,
    order: &'a Order,
    centroids: &'a Centroids,
    /// `(rows, width)` in the order of the cells.
    projections: &'a [f32],
    coded: Coded,
    /// The centroids of the chunks.
    panels: Panels,
    roundings: f64,
}

/// Room for one task, kept by its thread.
#[derive(Default)]
struct Scratch {
    /// The rows of each chunk that reach into each cell of the other group, `(chunks, lanes)`.
    lists: [Vec<Vec<Entry>>; 2],
    limits: Vec<f32>,
    tile: Vec<f32>,
    whole: Vec<Entry>,
    packed: Packed,
    candidates: Vec<(u32, u32)>,
}

#[derive(Default)]
struct Packed {
    left_bytes: Vec<u8>,
    left_starts: Vec<[i16; 2]>,
    right_bytes: Vec<u8>,
    right_starts: Vec<[i16; 2]>,
    positions: Vec<u32>,
}

impl Context<'_> {
    fn group(&self, group: usize) -> &[Chunk] {
        let lanes = self.panels.lanes;
        let from = group * lanes;
        &self.order.chunks[from..(from + lanes).min(self.order.chunks.len())]
    }

    fn points(&self) -> Points<'_> {
        let basis = self.join.encoder.basis;
        Points { values: self.projections, width: basis.width, depth: basis.first }
    }

    /// The pairs of two groups of chunks; none if the work has become too expensive.
    fn task(
        &self,
        left: usize,
        right: usize,
        gauge: &Gauge,
        scratch: &mut Scratch,
        watch: &Watch,
    ) -> Result<Option<Vec<Pair>>, ScanError> {
        if !gauge.spend(0.0) {
            return Ok(None);
        }
        let lanes = self.panels.lanes;
        let (lefts, rights) = (self.group(left), self.group(right));
        let Scratch { lists, limits, tile, whole, packed, candidates } = scratch;
        let [of_left, of_right] = lists;
        let rows: usize = lefts.iter().chain(rights).map(|chunk| chunk.rows.len()).sum();
        let routing = routing_cycles(rows as f64, lanes, self.panels.depth) / 2.0;
        limits.clear();
        limits.resize(lanes * lanes, f32::NEG_INFINITY);
        for (i, a) in lefts.iter().enumerate() {
            let from = if left == right { i + 1 } else { 0 };
            for (j, b) in rights.iter().enumerate().skip(from) {
                limits[i * lanes + j] = self.join.bound.limit(self.centroids, self.roundings, a.cell, b.cell);
            }
        }
        self.reach(lefts, right, |i, j| limits[i * lanes + j], of_left, tile);
        self.reach(rights, left, |j, i| limits[i * lanes + j], of_right, tile);
        let mut pairs = Vec::new();
        candidates.clear();
        let mut spent = routing;
        for (i, chunk) in lefts.iter().enumerate() {
            watch.check()?;
            if left == right {
                whole.clear();
                whole.extend(chunk.rows.clone().map(|place| entry(0.0, place)));
                spent += self.tiles(whole, whole, None, packed, candidates);
            }
            for j in 0..rights.len() {
                let (a, b) = (&mut of_left[i * lanes + j], &mut of_right[j * lanes + i]);
                if a.is_empty() || b.is_empty() {
                    continue;
                }
                spent += self.meet(a, b, limits[i * lanes + j], packed, candidates);
                if candidates.len() >= SCORES_PER_CHECK {
                    watch.check()?;
                    spent += self.score(candidates, &mut pairs, watch)?;
                    if !gauge.spend(std::mem::take(&mut spent)) {
                        return Ok(None);
                    }
                }
            }
        }
        spent += self.score(candidates, &mut pairs, watch)?;
        Ok(gauge.spend(spent).then_some(pairs))
    }

    /// Lists the rows of some chunks by the cells of a group that they reach into: those whose margins are
    /// within a limit per chunk and cell.
    fn reach(
        &self,
        chunks: &[Chunk],
        group: usize,
        limit: impl Fn(usize, usize) -> f32,
        lists: &mut Vec<Vec<Entry>>,
        tile: &mut Vec<f32>,
    ) {
        let lanes = self.panels.lanes;
        let kernel = self.join.encoder.kernel;
        let points = self.points();
        lists.resize_with(lanes * lanes, Vec::new);
        lists.iter_mut().for_each(Vec::clear);
        for ((c, chunk), lists) in chunks.iter().enumerate().zip(lists.chunks_exact_mut(lanes)) {
            let limits: Vec<f32> = (0..lanes).map(|lane| limit(c, lane)).collect();
            for from in chunk.rows.clone().step_by(kernel.tile_rows()) {
                let count = kernel.tile_rows().min(chunk.rows.end - from);
                let rows = tile_of(points, from, count, kernel.tile_rows());
                self.panels.scores(group, &rows, kernel, tile);
                for (place, scores) in (from..from + count).zip(tile.chunks_exact(lanes)) {
                    let own = self.order.scores[place];
                    let within = |(&score, &limit): (&f32, &f32)| own - score <= limit;
                    if scores.iter().zip(&limits).fold(false, |any, pair| any | within(pair)) {
                        for ((list, score), limit) in lists.iter_mut().zip(scores).zip(&limits) {
                            if within((score, limit)) {
                                list.push(entry(own - score, place));
                            }
                        }
                    }
                }
            }
        }
    }

    /// The candidates among the pairs of two lists; what it cost.
    fn meet(
        &self,
        a: &mut [Entry],
        b: &mut [Entry],
        limit: f32,
        packed: &mut Packed,
        candidates: &mut Vec<(u32, u32)>,
    ) -> f64 {
        if a.len() * b.len() <= FEW {
            for &x in a.iter() {
                for &y in b.iter() {
                    if margin(x) <= limit - margin(y) && self.near(place(x), place(y)) {
                        candidates.push((place(x) as u32, place(y) as u32));
                    }
                }
            }
            return (a.len() * b.len()) as f64 * test_cycles(self.join.encoder.basis.width, 0).0;
        }
        a.sort_unstable();
        b.sort_unstable();
        // The longer list is gathered once, the shorter step by step.
        let (left, right) = if a.len() >= b.len() { (a, b) } else { (b, a) };
        self.tiles(left, right, Some(limit), packed, candidates)
    }

    /// The pairs of two lists, sorted by margin, that pass the first tile and the second test; of a list
    /// and itself, where there is no limit, each once. What it cost.
    fn tiles(
        &self,
        left: &[Entry],
        right: &[Entry],
        limit: Option<f32>,
        packed: &mut Packed,
        candidates: &mut Vec<(u32, u32)>,
    ) -> f64 {
        let Encoder { basis, kernel, .. } = self.join.encoder;
        let first = basis.first;
        let Packed { left_bytes, left_starts, right_bytes, right_starts, positions } = packed;
        left_bytes.clear();
        left_starts.clear();
        for &x in left {
            left_bytes.extend_from_slice(self.code(place(x)));
            left_starts.push(self.coded.starts[place(x)]);
        }
        let filled = left.len().next_multiple_of(SIEVE_ROWS);
        left_bytes.resize(filled * first, 0);
        left_starts.resize(filled, [i16::MIN / 2; 2]);
        let mut tested = 0;
        let mut passed = 0;
        for (step, entries) in right.chunks(COLUMNS).enumerate() {
            let met = match limit {
                Some(limit) => left.partition_point(|&x| margin(x) <= limit - margin(entries[0])),
                None => (step * COLUMNS + entries.len()).min(left.len()),
            };
            if met == 0 {
                break;
            }
            let lanes = entries.len().next_multiple_of(SIEVE_LANES);
            right_bytes.resize(lanes * first, 0);
            right_starts.clear();
            right_starts.resize(lanes, [0, i16::MIN / 2]);
            for (lane, &y) in entries.iter().enumerate() {
                let panel =
                    &mut right_bytes[lane / SIEVE_LANES * SIEVE_LANES * first..][..SIEVE_LANES * first];
                fill_lane(self.code(place(y)), lane % SIEVE_LANES, panel);
                right_starts[lane] = [0, -self.coded.needs[place(y)]];
            }
            let met = met.next_multiple_of(SIEVE_ROWS);
            let left_codes = Codes { bytes: &left_bytes[..met * first], starts: &left_starts[..met] };
            let right_codes = Codes { bytes: right_bytes, starts: right_starts };
            positions.clear();
            kernel.sieve(&left_codes, &right_codes, first, positions);
            tested += met * lanes;
            passed += positions.len();
            for &position in positions.iter() {
                let (i, j) = (position as usize / lanes, position as usize % lanes);
                let once = limit.is_some() || i < step * COLUMNS + j;
                if once && i < left.len() && j < entries.len() {
                    let (x, y) = (place(left[i]), place(entries[j]));
                    if self.near(x, y) {
                        candidates.push((x as u32, y as u32));
                    }
                }
            }
        }
        let packing = 40.0 * (left.len() + right.len()) as f64;
        packing + tested as f64 * tile_cycles(first) + passed as f64 * test_cycles(basis.width, 0).0
    }

    fn code(&self, place: usize) -> &[u8] {
        let first = self.join.encoder.basis.first;
        &self.coded.bytes[place * first..][..first]
    }

    /// The second test.
    fn near(&self, x: usize, y: usize) -> bool {
        let width = self.join.encoder.basis.width;
        let projection = |place: usize| &self.projections[place * width..][..width];
        self.join.encoder.kernel.square_distance(projection(x), projection(y)) <= self.join.limit
    }

    /// The third test of the candidates; what those cost that are no match.
    fn score(
        &self,
        candidates: &mut Vec<(u32, u32)>,
        pairs: &mut Vec<Pair>,
        watch: &Watch,
    ) -> Result<f64, ScanError> {
        let before = pairs.len();
        for &(x, y) in candidates.iter() {
            let (x, y) = (self.order.rows[x as usize], self.order.rows[y as usize]);
            let (left, right) = (x.min(y), x.max(y));
            let ((x, xx), (y, yy)) = (self.join.side.get(left as usize), self.join.side.get(right as usize));
            let score = cosine(self.join.encoder.kernel.dot(x, y), xx, yy);
            if score >= self.join.threshold {
                pairs.push(Pair { left, right, cosine: score });
            }
        }
        let hits = pairs.len() - before;
        watch.found(hits)?;
        let vain = candidates.len() - hits;
        candidates.clear();
        Ok(vain as f64 * test_cycles(0, self.join.side.dim).1)
    }
}
