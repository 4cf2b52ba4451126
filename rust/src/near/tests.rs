//! Scans against brute force in float64 that is written here, for every kernel this processor runs.

use proptest::prelude::*;

use super::costs::Policy;
use super::pairs::within;
use super::product::Blocks;
use super::rows::Rows;
use super::*;
use crate::error::ScanError;
use crate::kernel::{self, Kernel};
use crate::parallel::Watch;

/// The documented order of summation, one product at a time.
fn slow_dot(x: &[f32], y: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 16];
    for i in 0..x.len() {
        lanes[i % 16] += x[i] as f64 * y[i] as f64;
    }
    let eight: Vec<f64> = (0..8).map(|j| lanes[j] + lanes[j + 8]).collect();
    let four: Vec<f64> = (0..4).map(|j| eight[j] + eight[j + 4]).collect();
    (four[0] + four[2]) + (four[1] + four[3])
}

fn slow_usability(row: &[f32]) -> Usability {
    if row.iter().any(|v| v.is_nan()) {
        Usability::Nan
    } else if row.iter().any(|v| v.is_infinite()) {
        Usability::Infinite
    } else if row.iter().all(|&v| v == 0.0) {
        Usability::Zero
    } else if row.iter().map(|&v| v as f64 * v as f64).sum::<f64>().sqrt() < f32::MIN_POSITIVE as f64 {
        Usability::Denormal
    } else {
        Usability::Usable
    }
}

/// Every (train row, eval row, score) at or above the threshold, over all rows.
fn slow_pairs(train: &[Vec<f32>], eval: &[Vec<f32>], threshold: f64) -> Vec<(usize, usize, u64)> {
    let mut pairs = Vec::new();
    for (i, x) in train.iter().enumerate() {
        for (j, y) in eval.iter().enumerate() {
            if slow_usability(x) != Usability::Usable || slow_usability(y) != Usability::Usable {
                continue;
            }
            let score = slow_dot(x, y) / (slow_dot(x, x) * slow_dot(y, y)).sqrt();
            let score = if score > 1.0 { 1.0 } else { score };
            let score = if score < -1.0 { -1.0 } else { score };
            if score >= threshold {
                pairs.push((i, j, score.to_bits()));
            }
        }
    }
    pairs
}

/// The same out of an index: groups expanded to rows.
fn index_pairs(
    kernel: &'static Kernel,
    train: &[Vec<f32>],
    eval: &[Vec<f32>],
    dim: usize,
    threshold: f64,
    blocks: Blocks,
    policy: Policy,
) -> Vec<(usize, usize, u64)> {
    let watch = Watch::new();
    let mut index = NearIndex::with_kernel(dim, threshold, kernel, blocks, policy).unwrap();
    let codes = index.add(&eval.concat(), &watch).unwrap();
    let expected: Vec<u8> = eval.iter().map(|row| slow_usability(row) as u8).collect();
    assert_eq!(codes, expected);
    let hits = index.scan(&train.concat(), false, &watch).unwrap();
    let expected: Vec<u8> = train.iter().map(|row| slow_usability(row) as u8).collect();
    assert_eq!(hits.usability, expected);
    assert_eq!(watch.done(), (train.len() + eval.len()) as u64);
    let keyed = index.scan(&train.concat(), true, &Watch::new()).unwrap();
    for (row, (key, of_row)) in hits.keys.iter().zip(&keyed.keys).enumerate() {
        let has_hit = hits.row.binary_search(&(row as i64)).is_ok();
        assert_eq!(*key, if has_hit { *of_row } else { [0; 2] });
        assert_eq!(*of_row, row_key(&train[row], &mut Vec::new()));
    }
    assert_eq!((&hits.row, &hits.group, &hits.cosine), (&keyed.row, &keyed.group, &keyed.cosine));
    let order: Vec<_> = hits.row.iter().zip(&hits.group).collect();
    assert!(order.is_sorted_by(|a, b| a < b), "hits are sorted and unique");
    let mut pairs = Vec::new();
    for ((&row, &group), score) in hits.row.iter().zip(&hits.group).zip(&hits.cosine) {
        for (j, _) in index.group_of_row().iter().enumerate().filter(|&(_, &g)| g == group) {
            pairs.push((row as usize, j, score.to_bits()));
        }
    }
    pairs.sort_unstable();
    pairs
}

/// splitmix64, so that a failing case is one number.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn uniform(&mut self) -> f64 {
        self.next() as f64 / u64::MAX as f64 * 2.0 - 1.0
    }

    fn row(&mut self, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| self.uniform() as f32).collect()
    }

    /// A row at about `cosine` to `to`.
    fn row_near(&mut self, to: &[f32], cosine: f64) -> Vec<f32> {
        let norm = slow_dot(to, to).sqrt();
        let noise: Vec<f64> = to.iter().map(|_| self.uniform()).collect();
        let along: f64 = noise.iter().zip(to).map(|(a, &b)| a * b as f64 / norm).sum();
        let across: Vec<f64> = noise.iter().zip(to).map(|(a, &b)| a - along * b as f64 / norm).collect();
        let width = across.iter().map(|a| a * a).sum::<f64>().sqrt().max(1e-300);
        let sine = (1.0 - cosine * cosine).max(0.0).sqrt();
        to.iter().zip(&across).map(|(&b, a)| (b as f64 / norm * cosine + a / width * sine) as f32).collect()
    }

    /// Rows, some of them near the others' rows, equal to them, or unusable; of any length.
    fn rows(&mut self, n: usize, dim: usize, others: &[Vec<f32>], threshold: f64) -> Vec<Vec<f32>> {
        let mut rows: Vec<Vec<f32>> = Vec::new();
        for _ in 0..n {
            let all = others.len() + rows.len();
            let pick = self.below(all.max(1));
            let model = others.get(pick).or_else(|| rows.get(pick - others.len())).cloned();
            let mut row = match (self.below(11), model) {
                (0..=2, Some(model)) => {
                    let gap = 10f64.powf(-4.0 - 3.0 * self.uniform().abs()) * self.uniform().signum();
                    self.row_near(&model, (threshold + gap).clamp(-1.0, 1.0))
                }
                (3, Some(model)) => model,
                (4, Some(model)) => model.iter().map(|v| if *v == 0.0 { -v } else { *v }).collect(),
                // Another row of the same square.
                (5, Some(model)) => model.iter().map(|v| -v).collect(),
                (6, _) => {
                    let mut row = self.row(dim);
                    row[pick % dim] = [0.0, f32::NAN, f32::INFINITY, 1e-42, -0.0][self.below(5)];
                    if self.below(2) == 0 {
                        let kept = row[pick % dim];
                        row.fill(0.0);
                        row[pick % dim] = kept;
                    }
                    row
                }
                _ => self.row(dim),
            };
            if self.below(3) == 0 {
                let scale = 10f32.powi(self.below(37) as i32 - 18);
                row.iter_mut().for_each(|v| *v *= scale);
            }
            rows.push(row);
        }
        rows
    }
}

fn threshold() -> impl Strategy<Value = f64> {
    prop_oneof![Just(1.0), Just(0.995), Just(0.9), Just(0.5), Just(0.0), Just(-1.0), Just(-0.0), -1.0f64..1.0,]
}

proptest! {
    #[test]
    fn every_kernel_finds_what_brute_force_finds(
        seed in any::<u64>(),
        dim in prop_oneof![1usize..20, Just(63), Just(65), Just(257), Just(384)],
        (n, m) in (0usize..60, 0usize..40),
        threshold in threshold(),
        small in any::<bool>(),
    ) {
        let mut random = Random(seed);
        let eval = random.rows(m, dim, &[], threshold);
        let train = random.rows(n, dim, &eval, threshold);
        let expected = slow_pairs(&train, &eval, threshold);
        // Small blocks make many tasks, slabs and ragged ends out of few rows.
        let blocks = if small { Blocks { left: dim * 4 * 7, right: dim * 4 * 17 } } else { Blocks::default() };
        for kernel in kernel::available() {
            let found = index_pairs(kernel, &train, &eval, dim, threshold, blocks, Policy::default());
            prop_assert_eq!(&found, &expected, "{}", kernel.name());
        }
    }

    #[test]
    fn equal_rows_and_no_others_share_a_key(seed in any::<u64>(), dim in 1usize..40) {
        let mut random = Random(seed);
        let rows = random.rows(30, dim, &[], 0.9);
        let finite: Vec<_> = rows.iter().filter(|row| row.iter().all(|v| v.is_finite())).collect();
        let mut scratch = Vec::new();
        let keys: Vec<_> = finite.iter().map(|row| row_key(row, &mut scratch)).collect();
        for (x, kx) in finite.iter().zip(&keys) {
            for (y, ky) in finite.iter().zip(&keys) {
                prop_assert_eq!(x == y, kx == ky);
            }
        }
    }
}

proptest! {
    // Large rows against slow arithmetic: fewer cases than usual.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_sieve_finds_what_brute_force_finds(
        seed in any::<u64>(),
        dim in prop_oneof![86usize..120, Just(384), Just(768), Just(1024)],
        (n, m) in (40usize..250, 40usize..70),
        threshold in prop_oneof![4 => Just(0.995), 2 => Just(0.9), 2 => 0.5f64..1.0, 1 => Just(1.0), 1 => threshold()],
        policy in prop_oneof![Just(SIEVE_ALWAYS), Just(AXES_ALWAYS)],
    ) {
        let mut random = Random(seed);
        let eval = random.rows(m, dim, &[], threshold);
        let train = random.rows(n, dim, &eval, threshold);
        let expected = slow_pairs(&train, &eval, threshold);
        for kernel in kernel::available() {
            let found = index_pairs(kernel, &train, &eval, dim, threshold, Blocks::default(), policy);
            prop_assert_eq!(&found, &expected, "{}", kernel.name());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn axes_lose_no_pair_that_they_show_at_full_length(
        seed in any::<u64>(),
        threshold in prop_oneof![Just(0.995), Just(0.9), 0.5f64..1.0],
    ) {
        // All values are where the axes are, so that rows are as far apart in the projection as a match may be.
        let mut random = Random(seed);
        let spread = |rows: Vec<Vec<f32>>| -> Vec<Vec<f32>> {
            rows.iter().map(|row| row.iter().flat_map(|&v| [0.0, v, 0.0, 0.0]).collect()).collect()
        };
        let eval = random.rows(60, 32, &[], threshold);
        let train = spread(random.rows(200, 32, &eval, threshold));
        let eval = spread(eval);
        let expected = slow_pairs(&train, &eval, threshold);
        for kernel in kernel::available() {
            let found = index_pairs(kernel, &train, &eval, 128, threshold, Blocks::default(), AXES_ALWAYS);
            prop_assert_eq!(&found, &expected, "{}", kernel.name());
        }
    }
}

#[test]
fn every_kernel_takes_the_dimensions_that_models_have() {
    for (dim, seed) in [1, 3, 63, 65, 384, 768, 1024, 1536, 4096].into_iter().zip(0..) {
        let mut random = Random(seed);
        let eval = random.rows(41, dim, &[], 0.9);
        let train = random.rows(67, dim, &eval, 0.9);
        let expected = slow_pairs(&train, &eval, 0.9);
        assert!(!expected.is_empty());
        for kernel in kernel::available() {
            for policy in [Policy::default(), SIEVE_ALWAYS, AXES_ALWAYS] {
                let found = index_pairs(kernel, &train, &eval, dim, 0.9, Blocks::default(), policy);
                assert_eq!(found, expected, "{} {dim}", kernel.name());
            }
        }
    }
}

/// Of every eval row the highest score and the first train row that has it.
fn slow_nearest(train: &[Vec<f32>], eval: &[Vec<f32>]) -> Vec<(u64, i64)> {
    let mut best = vec![(f64::NAN, -1); eval.len()];
    for (i, j, score) in slow_pairs(train, eval, -1.0) {
        let score = f64::from_bits(score);
        // Pairs come by train row.
        if best[j].1 < 0 || score > best[j].0 {
            best[j] = (score, i as i64);
        }
    }
    best.iter().map(|&(score, row)| (score.to_bits(), row)).collect()
}

/// The same out of an index that blocks of train rows go by.
fn check_nearest(
    train: &[Vec<f32>],
    eval: &[Vec<f32>],
    dim: usize,
    block: usize,
    blocks: Blocks,
    policy: Policy,
) {
    let expected = slow_nearest(train, eval);
    for kernel in kernel::available() {
        let watch = Watch::new();
        let mut index = NearIndex::with_kernel(dim, 0.9, kernel, blocks, policy).unwrap();
        index.add(&eval.concat(), &watch).unwrap();
        for (place, rows) in train.chunks(block).enumerate() {
            let codes = index.seek(&rows.concat(), (place * block) as i64, &watch).unwrap();
            let expected: Vec<u8> = rows.iter().map(|row| slow_usability(row) as u8).collect();
            assert_eq!(codes, expected);
        }
        assert_eq!(watch.done(), (train.len() + eval.len()) as u64);
        let nearest = index.nearest();
        let found: Vec<_> = (0..eval.len())
            .map(|j| match index.group_of_row()[j] {
                -1 => (f64::NAN.to_bits(), -1),
                group => (nearest.cosine[group as usize].to_bits(), nearest.row[group as usize]),
            })
            .collect();
        assert_eq!(found, expected, "{}", kernel.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_nearest_row_is_that_of_brute_force(
        seed in any::<u64>(),
        dim in prop_oneof![1usize..20, Just(63), Just(65), Just(257), Just(384)],
        (n, m) in (0usize..120, 0usize..40),
        block in 1usize..130,
        small in any::<bool>(),
    ) {
        let mut random = Random(seed);
        let eval = random.rows(m, dim, &[], 0.9);
        let train = random.rows(n, dim, &eval, 0.9);
        let blocks = if small { Blocks { left: dim * 4 * 7, right: dim * 4 * 17 } } else { Blocks::default() };
        check_nearest(&train, &eval, dim, block, blocks, Policy::default());
    }

    #[test]
    fn a_rising_sieve_finds_what_brute_force_finds(
        seed in any::<u64>(),
        dim in prop_oneof![86usize..120, Just(384), Just(768)],
        (n, m) in (100usize..500, 40usize..70),
        block in 60usize..600,
        threshold in prop_oneof![Just(0.999), Just(0.9), Just(0.5), Just(0.0)],
    ) {
        let mut random = Random(seed);
        let eval = random.rows(m, dim, &[], threshold);
        let train = random.rows(n, dim, &eval, threshold);
        check_nearest(&train, &eval, dim, block, Blocks::default(), Policy { seeds: 9, ..SIEVE_ALWAYS });
    }
}

/// The best rows of every query, out of blocks that went by, as (score, row), with -1 where there are no more.
fn check_top(train: &[Vec<f32>], eval: &[Vec<f32>], dim: usize, count: usize, block: usize, policy: Policy) {
    let usable = |row: &&Vec<f32>| slow_usability(row) == Usability::Usable;
    let expected = eval.iter().map(|y| {
        let score =
            |x: &Vec<f32>| (slow_dot(x, y) / (slow_dot(x, x) * slow_dot(y, y)).sqrt()).clamp(-1.0, 1.0);
        let there = train.iter().zip(0i64..).filter(|(x, _)| usable(x) && usable(&y));
        let mut rows: Vec<(f64, i64)> = there.map(|(x, i)| (score(x), i)).collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        rows.resize(count, (f64::NAN, -1));
        rows
    });
    let expected: Vec<(u64, i64)> = expected.flatten().map(|(score, row)| (score.to_bits(), row)).collect();
    for kernel in kernel::available() {
        let watch = Watch::new();
        let none = Excluded { offsets: vec![0; eval.len() + 1], rows: Vec::new() };
        let queries = eval.concat();
        let mut search =
            TopSearch::with_kernel(&queries, dim, count, none, kernel, Blocks::default(), policy, &watch)
                .unwrap();
        for (place, rows) in train.chunks(block).enumerate() {
            search.seek(&rows.concat(), (place * block) as i64, &watch).unwrap();
        }
        let top = search.best();
        let found: Vec<(u64, i64)> = top.cosine.iter().map(|s| s.to_bits()).zip(top.row).collect();
        assert_eq!(found, expected, "{} with {policy:?}", kernel.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_best_rows_are_those_of_brute_force(
        seed in any::<u64>(),
        dim in prop_oneof![1usize..20, Just(63), Just(97), Just(257), Just(384), Just(768)],
        (n, m) in (1usize..300, 1usize..60),
        count in 1usize..12,
        block in 1usize..310,
        seeds in prop_oneof![Just(0usize), Just(9)],
        threshold in prop_oneof![Just(0.999), Just(0.9), Just(0.5), Just(0.0)],
    ) {
        let mut random = Random(seed);
        let eval = random.rows(m, dim, &[], threshold);
        let train = random.rows(n, dim, &eval, threshold);
        for policy in [Policy::default(), SIEVE_ALWAYS, BYTES_ALWAYS] {
            check_top(&train, &eval, dim, count, block, Policy { seeds, ..policy });
        }
    }
}

#[test]
fn what_is_given_up_half_way_is_not_held_twice() {
    // Rows so near to each other that nearly every pair passes, for more queries than one look at the budget.
    let mut random = Random(5);
    let model = random.row(96);
    let rows = |n: usize, random: &mut Random| -> Vec<Vec<f32>> {
        (0..n).map(|_| random.row_near(&model, 0.999)).collect()
    };
    let (train, eval) = (rows(90, &mut random), rows(1100, &mut random));
    for policy in [SIEVE_ALWAYS, BYTES_ALWAYS] {
        check_top(&train, &eval, 96, 20, 45, Policy { waste: 0.0, seeds: 24, ..policy });
    }
}

/// Each pair of one set once, through the groups; the fewest cells that the rows were in.
fn check_within(rows: &[Vec<f32>], dim: usize, threshold: f64, blocks: Blocks, policy: Policy) -> usize {
    let usable = |i: usize| slow_usability(&rows[i]) == Usability::Usable;
    let first: Vec<usize> =
        (0..rows.len()).map(|i| (0..i).find(|&j| usable(j) && rows[j] == rows[i]).unwrap_or(i)).collect();
    let expected: Vec<_> = slow_pairs(rows, rows, threshold)
        .into_iter()
        .filter(|&(i, j, _)| i < j && first[i] == i && first[j] == j)
        .collect();
    let mut cells = usize::MAX;
    for kernel in kernel::available() {
        let watch = Watch::new();
        let found = within(&rows.concat(), dim, threshold, kernel, blocks, policy, &watch).unwrap();
        assert_eq!(listed(&found.pairs), expected, "{}", kernel.name());
        cells = cells.min(found.pairs.cells);
        check_pairs_of_groups(rows, dim, threshold, kernel, blocks, policy, &found);
        let groups: Vec<_> = (0..rows.len()).map(|i| if usable(i) { first[i] as i64 } else { -1 }).collect();
        assert_eq!(found.first_row, groups);
        assert_eq!(watch.done(), rows.len() as u64);
    }
    cells
}

fn listed(pairs: &Pairs) -> Vec<(usize, usize, u64)> {
    let scores = pairs.cosine.iter().map(|score| score.to_bits());
    let pairs = pairs.left.iter().zip(&pairs.right).zip(scores);
    pairs.map(|((&i, &j), score)| (i as usize, j as usize, score)).collect()
}

/// An index gives the same pairs of its groups, or none where there is no room for one of them.
fn check_pairs_of_groups(
    rows: &[Vec<f32>],
    dim: usize,
    threshold: f64,
    kernel: &'static Kernel,
    blocks: Blocks,
    policy: Policy,
    expected: &Within,
) {
    let watch = Watch::new();
    let mut index = NearIndex::with_kernel(dim, threshold, kernel, blocks, policy).unwrap();
    index.add(&rows.concat(), &watch).unwrap();
    let count = expected.pairs.left.len();
    // A way that is given up has counted its hits already.
    let mut found = index.pairs(4 * count, &watch).unwrap().expect("there is room");
    let mut first_row = vec![-1; index.group_count()];
    for (row, (&group, &first)) in index.group_of_row().iter().zip(&expected.first_row).enumerate() {
        if row as i64 == first {
            first_row[group as usize] = first;
        }
    }
    for place in found.left.iter_mut().chain(&mut found.right) {
        *place = first_row[*place as usize];
    }
    assert_eq!(listed(&found), listed(&expected.pairs));
    assert!(count == 0 || index.pairs(count - 1, &watch).unwrap().is_none());
}

const SIEVE_ALWAYS: Policy = Policy {
    least_dim: 0,
    worth: 0.0,
    expected: f64::INFINITY,
    waste: f64::INFINITY,
    axes: 0.0,
    cells: 0.0,
    cells_budget: f64::INFINITY,
    cell_rows: 4,
    seeds: 0,
    bytes: 0.0,
};

/// The product in bytes, whatever the kernel, and no sieve before it.
const BYTES_ALWAYS: Policy = Policy { bytes: f64::INFINITY, worth: f64::INFINITY, ..SIEVE_ALWAYS };

/// Directions that are coordinates, however many pairs they let through.
const AXES_ALWAYS: Policy = Policy { axes: f64::INFINITY, ..SIEVE_ALWAYS };

const CELLS_ALWAYS: Policy = Policy { cells: f64::INFINITY, ..SIEVE_ALWAYS };

#[test]
fn few_rows_need_no_directions() {
    let mut random = Random(7);
    for (dim, n) in [1, 3, 96].into_iter().flat_map(|dim| (0..4).map(move |n| (dim, n))) {
        let rows: Vec<Vec<f32>> = (0..n).map(|_| random.row(dim)).collect();
        for policy in [SIEVE_ALWAYS, AXES_ALWAYS, CELLS_ALWAYS, BYTES_ALWAYS] {
            check_within(&rows, dim, 0.5, Blocks { left: dim * 4, right: dim * 4 * 33 }, policy);
            for m in 1..4 {
                check_top(&rows, &rows[..m.min(n)], dim, 2, 1, policy);
            }
            check_top(&rows, &[vec![0.0; dim]], dim, 2, 1, policy);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_pair_of_one_set_is_found_once(
        seed in any::<u64>(),
        dim in prop_oneof![1usize..20, 86usize..120, Just(384)],
        n in 0usize..400,
        threshold in threshold(),
        policy in prop_oneof![Just(SIEVE_ALWAYS), Just(CELLS_ALWAYS), Just(Policy::default())],
    ) {
        let rows = Random(seed).rows(n, dim, &[], threshold);
        let blocks = Blocks { left: dim * 4 * 7, right: dim * 4 * 33 };
        check_within(&rows, dim, threshold, blocks, policy);
    }

    #[test]
    fn cells_lose_no_pair_of_clustered_rows(
        seed in any::<u64>(),
        dim in prop_oneof![4 => 86usize..120, 1 => Just(385)],
        (clusters, n) in (1usize..20, 64usize..240),
        spread in prop_oneof![Just(0.0), Just(0.05), 0.0f64..1.0],
        threshold in prop_oneof![3 => Just(0.995), 1 => Just(1.0), 2 => 0.5f64..1.0, 1 => threshold()],
        budget in prop_oneof![4 => Just(f64::INFINITY), 1 => Just(0.0)],
    ) {
        let mut random = Random(seed);
        let centres: Vec<Vec<f32>> = (0..clusters).map(|_| random.row(dim)).collect();
        let mut rows = random.rows(n / 4, dim, &centres, threshold);
        for i in 0..n {
            let centre = &centres[random.below(clusters)];
            let cosine = 1.0 - spread * random.uniform().abs();
            let near = random.row_near(centre, cosine);
            rows.push(near);
            if i % 5 == 0 {
                let pick = random.below(rows.len());
                let planted = random.rows(1, dim, &rows[pick..pick + 1], threshold);
                rows.extend(planted);
            }
        }
        let policy = Policy { cells_budget: budget, ..CELLS_ALWAYS };
        let cells = check_within(&rows, dim, threshold, Blocks::default(), policy);
        // Four rows in each of sixteen cells are the fewest that are tried, repeated rows not counted.
        let usable = rows.iter().filter(|row| slow_usability(row) == Usability::Usable);
        let distinct = usable.map(|row| row.iter().map(|v| (v + 0.0).to_bits()).collect::<Vec<_>>());
        let distinct = distinct.collect::<std::collections::HashSet<_>>().len();
        assert_eq!(cells > 0, budget > 0.0 && distinct >= 64, "{cells} cells of {distinct} rows");
    }

    #[test]
    fn cells_lose_no_pair_across_the_middle_of_two(
        seed in any::<u64>(),
        angle in 0.3f64..1.5,
        threshold in prop_oneof![Just(0.995), Just(0.9999), 0.9f64..1.0],
    ) {
        // Nothing is closer to what the bound rules out: two rows on the arc between two clusters, each on
        // its side of the middle, as far apart as a match may be.
        let (dim, mut random) = (96, Random(seed));
        let u = random.row(dim);
        let v = random.row_near(&u, angle.cos());
        let on_arc = |at: f64| -> Vec<f32> {
            let norm = |x: &[f32]| slow_dot(x, x).sqrt();
            let (nu, nv) = (norm(&u), norm(&v));
            let (a, b) = ((angle * (1.0 - at)).sin() / nu, (angle * at).sin() / nv);
            u.iter().zip(&v).map(|(x, y)| (a * f64::from(*x) + b * f64::from(*y)) as f32).collect()
        };
        let mut rows: Vec<Vec<f32>> = Vec::new();
        for centre in [&u, &v] {
            rows.extend((0..60).map(|_| random.row_near(centre, 0.9999)));
        }
        for _ in 0..40 {
            let apart = threshold.acos() / angle + random.uniform() * 10f64.powi(-4 - random.below(5) as i32);
            let middle = 0.5 + apart * random.uniform() / 2.0;
            rows.push(on_arc(middle - apart / 2.0));
            rows.push(on_arc(middle + apart / 2.0));
        }
        check_within(&rows, dim, threshold, Blocks::default(), CELLS_ALWAYS);
    }
}

#[test]
fn a_sieve_that_gives_up_now_and_then_loses_nothing() {
    let mut random = Random(3);
    let rows = random.rows(1200, 96, &[], 0.9);
    // No waste is allowed, so that tasks with a survivor in vain go to the product.
    check_within(&rows, 96, 0.9, Blocks::default(), Policy { waste: 0.0, ..SIEVE_ALWAYS });
}

#[test]
fn a_sieve_takes_rows_of_low_rank() {
    let mut random = Random(11);
    let axes: Vec<Vec<f32>> = (0..3).map(|_| random.row(128)).collect();
    let mut side = |n: usize| -> Vec<Vec<f32>> {
        let mut combined = |_| {
            let shares: Vec<f32> = (0..3).map(|_| random.uniform() as f32).collect();
            (0..128).map(|k| axes.iter().zip(&shares).map(|(axis, share)| axis[k] * share).sum()).collect()
        };
        (0..n).map(&mut combined).collect()
    };
    let (train, eval) = (side(300), side(200));
    for kernel in kernel::available() {
        for policy in [SIEVE_ALWAYS, AXES_ALWAYS] {
            let found = index_pairs(kernel, &train, &eval, 128, 0.99, Blocks::default(), policy);
            assert_eq!(found, slow_pairs(&train, &eval, 0.99), "{}", kernel.name());
        }
    }
}

#[test]
fn axes_are_for_rows_without_directions_of_their_own() {
    let (dim, n, mut random) = (256, 2000, Random(5));
    let directions: Vec<Vec<f32>> = (0..24).map(|_| random.row(dim)).collect();
    let few = |random: &mut Random| -> Vec<f32> {
        let mut row: Vec<f32> = random.row(dim).iter().map(|v| v * 0.1).collect();
        for direction in &directions {
            let share = random.uniform() as f32;
            row.iter_mut().zip(direction).for_each(|(v, d)| *v += share * d);
        }
        row
    };
    let isotropic: Vec<f32> = (0..n).flat_map(|_| random.row(dim)).collect();
    let of_few: Vec<f32> = (0..n).flat_map(|_| few(&mut random)).collect();
    let watch = Watch::new();
    let kernel = kernel::active().unwrap();
    let chosen = |rows: &[f32], axes: f64| {
        let squares: Vec<f64> = rows.chunks_exact(dim).map(|row| kernel.dot(row, row)).collect();
        let side = Rows { dim, values: rows, squares: &squares, chosen: None };
        let radius = (2.0 - 2.0 * 0.9f64).sqrt();
        let terms = costs::Terms { radius, expected: f64::INFINITY, caution: 1.0, work: f64::INFINITY, axes };
        basis::Basis::fit(side, side, terms, kernel, &watch).unwrap().unwrap()
    };
    let on_axes = |basis: &basis::Basis| matches!(basis.directions, basis::Directions::Axes(_));
    assert!(on_axes(&chosen(&isotropic, 1.0)));
    assert!(!on_axes(&chosen(&isotropic, 0.0)));
    assert!(!on_axes(&chosen(&of_few, 1.0)));
    let basis::Basis { directions, width, .. } = chosen(&of_few, f64::INFINITY);
    let basis::Directions::Axes(axes) = directions else { panic!("axes were asked for") };
    assert_eq!(axes.len(), width);
    assert_eq!(axes.iter().collect::<std::collections::HashSet<_>>().len(), width);
}

#[test]
fn the_ends_of_the_float32_range_are_scanned() {
    let watch = Watch::new();
    for scale in [1e-37f32, 1e-18, 1.0, 1e18, 1e38] {
        let mut index = NearIndex::new(3, 0.999).unwrap();
        index.add(&[1.0, 2.0, 2.0], &watch).unwrap();
        let rows = [scale, 2.0 * scale, 2.0 * scale, scale, -scale, scale];
        let hits = index.scan(&rows, true, &watch).unwrap();
        assert_eq!(hits.usability, [0, 0], "{scale}");
        assert_eq!((hits.row, hits.group), (vec![0], vec![0]), "{scale}");
    }
}

#[test]
fn dimensions_thresholds_and_shapes_are_checked() {
    assert!(matches!(NearIndex::new(0, 0.5), Err(ScanError::Value(_))));
    for threshold in [1.0001, -1.5, f64::NAN] {
        assert!(matches!(NearIndex::new(2, threshold), Err(ScanError::Value(_))));
    }
    let mut index = NearIndex::new(2, 0.5).unwrap();
    assert!(matches!(index.add(&[1.0], &Watch::new()), Err(ScanError::Shape(_))));
    assert!(matches!(index.scan(&[1.0; 3], true, &Watch::new()), Err(ScanError::Shape(_))));
}

#[test]
fn a_cancelled_scan_stops() {
    let mut index = NearIndex::new(2, 0.5).unwrap();
    index.add(&[1.0, 2.0], &Watch::new()).unwrap();
    let watch = Watch::new();
    watch.cancel();
    assert!(matches!(index.scan(&[1.0, 2.0], true, &watch), Err(ScanError::Cancelled)));
    assert!(matches!(index.add(&[1.0, 2.0], &watch), Err(ScanError::Cancelled)));
}

#[test]
fn windows_are_scored_where_both_sides_are_usable() {
    let scores =
        window_cosines(&[1.0, 0.0, 0.0, 0.0], &[2.0, 0.0, 0.0, 3.0, 1.0, 1.0, 0.0, 1.0], 2, 2, &Watch::new())
            .unwrap();
    assert_eq!(&scores.cosine[..2], &[1.0, 0.0]);
    assert!(scores.cosine[2].is_nan() && scores.cosine[3].is_nan());
    assert!(window_cosines(&[1.0], &[1.0, 2.0, 3.0], 1, 2, &Watch::new()).is_err());
}

proptest! {
    #[test]
    fn numbered_windows_are_scored_as_their_copies(
        vectors in prop::collection::vec(prop::collection::vec(-2i8..3, 3), 1..6),
        rows in prop::collection::vec(prop::collection::vec(0usize..1000, 3), 0..8),
    ) {
        let vectors: Vec<f32> = vectors.concat().into_iter().map(f32::from).collect();
        let count = vectors.len() / 3;
        let number = |pick: &usize| (pick % count) as i64;
        let targets: Vec<i64> = rows.iter().map(|row| number(&row[2])).collect();
        let windows: Vec<i64> = rows.iter().flat_map(|row| row[..2].iter().map(number)).collect();
        let copies = |numbers: &[i64]| -> Vec<f32> {
            numbers.iter().flat_map(|&n| &vectors[n as usize * 3..][..3]).copied().collect()
        };
        let watch = Watch::new();
        let found = numbered_window_cosines(&vectors, &targets, &windows, 3, 2, &watch).unwrap();
        let expected = window_cosines(&copies(&targets), &copies(&windows), 3, 2, &watch).unwrap();
        let bits = |scores: &[f64]| scores.iter().map(|s| s.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&found.cosine), bits(&expected.cosine));
        prop_assert_eq!((found.targets, found.windows), (expected.targets, expected.windows));
    }
}

#[test]
fn numbers_of_no_vector_are_refused() {
    for (targets, windows) in [(&[1][..], &[0][..]), (&[0], &[-1]), (&[0], &[0, 0])] {
        assert!(numbered_window_cosines(&[1.0, 2.0], targets, windows, 2, 1, &Watch::new()).is_err());
    }
}
