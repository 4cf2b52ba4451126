//! How many directions a sieve looks at: what each choice is expected to cost, counted on sampled pairs.

use super::bounds::{HALF_NORM, PEAK};
use super::costs::{Terms, test_cycles};
use super::matrix::Matrix;
use crate::kernel::Kernel;

/// Pairs of sampled rows on which survivors are counted: this many left rows with all right ones.
const PROBES: usize = 128;

/// Widths of the first tile and of the codes that are weighed against each other.
pub(super) const CANDIDATES: [usize; 9] = [32, 64, 96, 128, 160, 192, 256, 320, 384];

/// What a sieve is expected to cost per left row, in cycles of one core.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub first: usize,
    pub width: usize,
    pub cycles: f64,
    /// The share of the cycles that goes into pairs let through in vain.
    pub wasted: f64,
}

/// The probes as candidate directions show them.
#[derive(Clone, Copy)]
pub(super) struct Judged<'a> {
    pub projected: &'a Matrix,
    /// Rows of the left side, which come first.
    pub left: usize,
    /// Whether the directions will be mixed; otherwise they are used as they are, and are axes.
    pub mixed: bool,
}

/// The cheapest widths for the probed pairs.
pub(super) fn choose(
    judged: Judged<'_>,
    dim: usize,
    right: usize,
    Terms { radius, caution, .. }: Terms,
    kernel: &Kernel,
) -> Plan {
    let Judged { projected, left: left_count, mixed } = judged;
    let width = projected.depth;
    let lefts: Vec<&[f32]> =
        (0..left_count.min(PROBES)).map(|i| projected.row(i * left_count / left_count.min(PROBES))).collect();
    let widths: Vec<usize> = CANDIDATES.into_iter().filter(|&w| w <= width).collect();
    // How far codes of each width may be off, from the energy they have to hold.
    let mut energies = vec![Vec::with_capacity(projected.rows()); widths.len()];
    let mut peaks = energies.clone();
    for i in 0..projected.rows() {
        let mut from = 0;
        let (mut energy, mut peak) = (0.0f32, 0.0f32);
        for ((&to, energies), peaks) in widths.iter().zip(&mut energies).zip(&mut peaks) {
            for v in &projected.row(i)[from..to] {
                energy += v * v;
                peak = peak.max(v.abs());
            }
            energies.push(energy);
            peaks.push(peak);
            from = to;
        }
    }
    let large = |values: &mut Vec<f32>| {
        values.sort_by(f32::total_cmp);
        f64::from(values[values.len() - 1 - values.len() / 200])
    };
    let code_radius: Vec<f64> = widths
        .iter()
        .zip(energies.iter_mut().zip(&mut peaks))
        .map(|(&width, (energies, peaks))| {
            let mean = (energies.iter().map(|&e| f64::from(e)).sum::<f64>() / energies.len() as f64).sqrt();
            let peak = if mixed { 4.5 * mean / (width as f64).sqrt() } else { large(peaks) };
            let step = (large(energies).sqrt() * 0.8 / f64::from(HALF_NORM)).max(peak / f64::from(PEAK));
            radius + 2.0 * step * (width as f64 / 12.0).sqrt()
        })
        .collect();
    // Survivors of each first width, and of each first width and code width together.
    let mut first = vec![0usize; widths.len()];
    let mut both = vec![vec![0usize; widths.len()]; widths.len()];
    let mut hits = 0;
    let mut pairs = 0usize;
    for x in &lefts {
        for j in left_count..projected.rows() {
            let y = projected.row(j);
            pairs += 1;
            let mut distance = 0.0f32;
            let mut from = 0;
            let mut passed = [false; CANDIDATES.len()];
            for (w, &to) in widths.iter().enumerate() {
                distance += kernel.square_distance(&x[from..to], &y[from..to]);
                let distance = f64::from(distance).sqrt();
                if distance > code_radius[w..].iter().copied().fold(radius, f64::max) {
                    break;
                }
                passed[w] = distance <= code_radius[w];
                first[w] += usize::from(passed[w]);
                if distance <= radius {
                    for f in 0..=w {
                        both[f][w] += usize::from(passed[f]);
                    }
                    hits += usize::from(w + 1 == widths.len());
                }
                from = to;
            }
        }
    }
    let mut best: Option<Plan> = None;
    for (f, &first_width) in widths.iter().enumerate() {
        for (w, &code_width) in widths.iter().enumerate().skip(f) {
            let (second, third) = test_cycles(code_width, dim);
            let share = |count: usize| (caution * count as f64 / pairs as f64).min(1.0);
            // What survives the widest test may well be a match, which the product has to score too.
            let tests =
                right as f64 * (share(first[f]) * second + share(both[f][w].saturating_sub(hits)) * third);
            let project = if mixed { dim as f64 / 13.0 } else { 2.0 };
            let encode = (project + 8.0) * code_width as f64;
            let tiles = right as f64 * first_width as f64 / 40.0;
            let cycles = encode + tiles + tests;
            if best.is_none_or(|plan| cycles < plan.cycles) {
                best = Some(Plan { first: first_width, width: code_width, cycles, wasted: tests / cycles });
            }
        }
    }
    best.expect("the narrowest width is a candidate")
}
