//! Every kernel against sums written here, and against scalar; never against itself.

use proptest::prelude::*;

use super::*;

/// Every kernel that runs here; under Miri, which is slow, those alone that no processor at hand has.
fn tested() -> impl Iterator<Item = &'static Kernel> {
    available().iter().copied().filter(|kernel| !cfg!(miri) || kernel.name().starts_with("avx512"))
}

/// The end of a range of sizes, nearer under Miri.
const fn up_to(end: usize) -> usize {
    if cfg!(miri) { end / 8 + 2 } else { end }
}

/// The documented order, one product at a time, with none of the kernels' code.
fn documented_dot(x: &[f32], y: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 16];
    for i in 0..x.len() {
        lanes[i % 16] += x[i] as f64 * y[i] as f64;
    }
    let eight: Vec<f64> = (0..8).map(|j| lanes[j] + lanes[j + 8]).collect();
    let four: Vec<f64> = (0..4).map(|j| eight[j] + eight[j + 4]).collect();
    (four[0] + four[2]) + (four[1] + four[3])
}

fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -1.0f32..1.0,
        1 => prop::num::f32::NORMAL.prop_map(|v| v.clamp(-1e18, 1e18)),
        1 => Just(0.0f32),
        1 => Just(-0.0f32),
        1 => prop::num::f32::SUBNORMAL,
    ]
}

fn rows(length: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    prop::collection::vec((value(), value()), length).prop_map(|pairs| pairs.into_iter().unzip())
}

proptest! {
    #[test]
    fn dot_has_the_documented_bits((x, y) in rows(0..200)) {
        for kernel in tested() {
            prop_assert_eq!(kernel.dot(&x, &y).to_bits(), documented_dot(&x, &y).to_bits(), "{}", kernel.name());
        }
    }

    #[test]
    fn dots_have_the_bits_of_dot(sides in prop::collection::vec(rows(0..70), DOT_COLUMNS)) {
        let dim = sides.iter().map(|(x, _)| x.len()).min().unwrap();
        let xs: [&[f32]; DOT_ROWS] = std::array::from_fn(|i| &sides[i].0[..dim]);
        let ys: [&[f32]; DOT_COLUMNS] = std::array::from_fn(|j| &sides[j].1[..dim]);
        for kernel in tested() {
            let products = kernel.dots(&xs, &ys);
            for i in 0..DOT_ROWS {
                for j in 0..DOT_COLUMNS {
                    let expected = documented_dot(xs[i], ys[j]);
                    prop_assert_eq!(products[i][j].to_bits(), expected.to_bits(), "{}", kernel.name());
                }
            }
        }
    }

    #[test]
    fn multiply_is_within_its_error_bound(depth in 0..up_to(80), seed in prop::collection::vec(-1.0f32..1.0, 64)) {
        for kernel in tested() {
            let (rows, lanes) = (kernel.tile_rows(), kernel.tile_lanes());
            let at = |i: usize| seed[i * 7 % 64] * (1 + i % 5) as f32;
            let left: Vec<f32> = (0..depth * rows).map(at).collect();
            let right: Vec<f32> = (0..depth * lanes).map(|i| at(i + 13)).collect();
            let mut tile: Vec<f32> = (0..rows * lanes).map(at).collect();
            let before = tile.clone();
            kernel.multiply(&left, &right, &mut tile);
            for i in 0..rows {
                for j in 0..lanes {
                    let start = f64::from(before[i * lanes + j]);
                    let terms = (0..depth).map(|k| f64::from(left[k * rows + i]) * f64::from(right[k * lanes + j]));
                    let (sum, size) = terms.fold((start, start.abs()), |(s, a), t| (s + t, a + t.abs()));
                    let bound = (depth + 2) as f64 * f64::from(f32::EPSILON) * size;
                    let got = f64::from(tile[i * lanes + j]);
                    prop_assert!((got - sum).abs() <= bound, "{}: {got} for {sum}", kernel.name());
                }
            }
        }
    }

    #[test]
    fn project_is_multiply_without_packing(depth in 1..up_to(80), seed in prop::collection::vec(-1.0f32..1.0, 64)) {
        for kernel in tested() {
            let (rows, lanes) = (kernel.tile_rows(), kernel.tile_lanes());
            let left: Vec<Vec<f32>> =
                (0..rows).map(|i| (0..depth).map(|k| seed[(i * 11 + k) % 64]).collect()).collect();
            let right: Vec<f32> = (0..depth * lanes).map(|i| seed[i * 5 % 64]).collect();
            let mut tile = vec![1.0f32; rows * lanes];
            let slices: Vec<&[f32]> = left.iter().map(Vec::as_slice).collect();
            kernel.project(&slices, &right, &mut tile);
            for i in 0..rows {
                for j in 0..lanes {
                    let terms = (0..depth).map(|k| f64::from(left[i][k]) * f64::from(right[k * lanes + j]));
                    let (sum, size) = terms.fold((1.0, 1.0), |(s, a): (f64, f64), t| (s + t, a + t.abs()));
                    let bound = (depth + 2) as f64 * f64::from(f32::EPSILON) * size;
                    prop_assert!((f64::from(tile[i * lanes + j]) - sum).abs() <= bound, "{}", kernel.name());
                }
            }
        }
    }

    #[test]
    fn square_distance_is_within_its_error_bound((x, y) in (0..if cfg!(miri) { 80usize } else { 200 }).prop_flat_map(|n| {
        let row = prop::collection::vec(-2.0f32..2.0, n);
        (row.clone(), row)
    })) {
        let exact: f64 = x.iter().zip(&y).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
        let bound = (x.len() + 4) as f64 * f64::from(f32::EPSILON) * exact;
        for kernel in tested() {
            let got = f64::from(kernel.square_distance(&x, &y));
            prop_assert!((got - exact).abs() <= bound, "{}: {got} for {exact}", kernel.name());
        }
    }

    #[test]
    fn sift_finds_the_products_that_are_not_negative(
        fours in 1..up_to(80),
        block in 1..up_to(60),
        parts in 0usize..3,
        panels in 0usize..4,
        seed in any::<u64>(),
        spread in 1i64..64,
    ) {
        let lanes = panels * SIEVE_LANES;
        let blocked = Blocked { width: fours * 4, block: block * 4 };
        let Blocked { width, block } = blocked;
        let mut state = seed;
        let mut next = |spread: i64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as i64 % (2 * spread + 1) - spread
        };
        // Of either half of a block the norms are at most 181, so that no sum is beyond sixteen bits.
        let mut codes = |rows: usize, peak: i64| {
            let mut codes: Vec<i64> = (0..rows * width).map(|_| next(spread * peak / 63)).collect();
            for row in codes.chunks_mut(width) {
                for block in row.chunks_mut(block) {
                    let mut squares = [0, 0];
                    for (k, q) in block.iter_mut().enumerate() {
                        let square = &mut squares[k % 4 / 2];
                        *q = if *square + *q * *q > 181 * 181 { 0 } else { *q };
                        *square += *q * *q;
                    }
                }
            }
            codes
        };
        let (x, y) = (codes(parts * SIEVE_ROWS, 127), codes(lanes, 63));
        let x_starts: Vec<i32> = (0..parts * SIEVE_ROWS).map(|_| next(40_000) as i32).collect();
        let y_starts: Vec<i32> = (0..lanes).map(|_| next(40_000) as i32).collect();
        let mut expected = Vec::new();
        for (i, x_start) in x_starts.iter().enumerate() {
            for (j, y_start) in y_starts.iter().enumerate() {
                let product: i64 = (0..width).map(|k| x[i * width + k] * y[j * width + k]).sum();
                if product + i64::from(x_start + y_start) >= 0 {
                    expected.push((i * lanes + j) as u32);
                }
            }
        }
        let bytes: Vec<u8> = x.iter().map(|&x| x as i8 as u8).collect();
        let mut sums = Vec::new();
        for block in x.chunks(width).flat_map(|row| row.chunks(block)) {
            let half = |h: usize| block.iter().skip(h).step_by(4).chain(block.iter().skip(h + 1).step_by(4)).sum();
            let halves: [i64; 2] = [half(0), half(2)];
            sums.push(halves.map(|sum| sum as i16));
        }
        let mut panels = vec![0u8; lanes * width];
        for j in 0..lanes {
            let panel = &mut panels[j / SIEVE_LANES * SIEVE_LANES * width..];
            for k in 0..width {
                panel[(k / 4 * SIEVE_LANES + j % SIEVE_LANES) * 4 + k % 4] = (y[j * width + k] + 64) as u8;
            }
        }
        for kernel in tested() {
            let mut found = Vec::new();
            let left = LongCodes { bytes: &bytes, sums: &sums, starts: &x_starts };
            let right = LongCodes { bytes: &panels, sums: &[], starts: &y_starts };
            kernel.sift(&left, &right, blocked, &mut found);
            found.sort_unstable();
            prop_assert_eq!(&found, &expected, "{}", kernel.name());
        }
    }

    #[test]
    fn sieve_finds_the_sums_that_are_not_negative(
        fours in 1..up_to(40),
        blocks in 0usize..4,
        panels in 0usize..4,
        seed in any::<u64>(),
        spread in 1i64..64,
    ) {
        let (width, lanes) = (fours * 4, panels * SIEVE_LANES);
        let mut state = seed;
        let mut next = || { state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); (state >> 33) as i64 };
        let x: Vec<i64> = (0..blocks * SIEVE_ROWS * width).map(|_| next() % (2 * spread + 1) - spread).collect();
        let u: Vec<i64> = (0..lanes * width).map(|_| 64 + next() % (2 * spread + 1) - spread).collect();
        let x_starts: Vec<[i16; 2]> = (0..blocks * SIEVE_ROWS).map(|_| [next() as i16, next() as i16]).collect();
        let y_starts: Vec<[i16; 2]> = (0..lanes).map(|_| [next() as i16, next() as i16]).collect();
        let wrap = |v: i64| i64::from(v as i16);
        let mut expected = Vec::new();
        for (i, x_start) in x_starts.iter().enumerate() {
            for (j, y_start) in y_starts.iter().enumerate() {
                let mut halves = [0i64; 2];
                for k in 0..width {
                    halves[k % 4 / 2] += x[i * width + k] * u[j * width + k];
                }
                let h = [0, 1].map(|h| wrap(halves[h] + i64::from(x_start[h]) + i64::from(y_start[h])));
                if h[0] + h[1] >= 0 {
                    expected.push((i * lanes + j) as u32);
                }
            }
        }
        let bytes: Vec<u8> = x.iter().map(|&x| x as i8 as u8).collect();
        let mut panels = vec![0u8; lanes * width];
        for j in 0..lanes {
            let panel = &mut panels[j / SIEVE_LANES * SIEVE_LANES * width..];
            for k in 0..width {
                panel[(k / 4 * SIEVE_LANES + j % SIEVE_LANES) * 4 + k % 4] = u[j * width + k] as u8;
            }
        }
        for kernel in tested() {
            let mut found = Vec::new();
            let left = Codes { bytes: &bytes, starts: &x_starts };
            kernel.sieve(&left, &Codes { bytes: &panels, starts: &y_starts }, width, &mut found);
            found.sort_unstable();
            prop_assert_eq!(&found, &expected, "{}", kernel.name());
        }
    }

    #[test]
    fn at_least_finds_what_a_loop_finds(
        values in prop::collection::vec(prop_oneof![-1.0f32..1.0, Just(0.5f32), Just(f32::NAN)], 0..100),
        limit in prop_oneof![Just(0.5f32), -1.5f32..1.5],
    ) {
        let expected: Vec<u32> = (0..values.len()).filter(|&i| values[i] >= limit).map(|i| i as u32).collect();
        for kernel in tested() {
            let mut got = vec![7];
            kernel.at_least(&values, limit, &mut got);
            prop_assert_eq!(got[0], 7);
            prop_assert_eq!(&got[1..], &expected[..], "{}", kernel.name());
        }
    }
}

#[test]
fn dot_agrees_at_the_dimensions_that_models_have() {
    for dim in [1, 3, 63, 65, 384, 768, 1024, 1536, 4096] {
        let x: Vec<f32> = (0..dim).map(|i| ((i * 37 % 101) as f32 - 50.0) / 17.0).collect();
        let y: Vec<f32> = (0..dim).map(|i| ((i * 53 % 97) as f32 - 48.0) / 13.0).collect();
        for kernel in tested() {
            assert_eq!(
                kernel.dot(&x, &y).to_bits(),
                documented_dot(&x, &y).to_bits(),
                "{} {dim}",
                kernel.name()
            );
        }
    }
}

#[test]
fn scalar_is_always_there_and_a_kernel_can_be_forced_by_name() {
    assert_eq!(choose(Some("scalar")).unwrap().name(), "scalar");
    assert_eq!(choose(None).unwrap().name(), available()[0].name());
    assert_eq!(choose(Some("")).unwrap().name(), available()[0].name());
    let message = choose(Some("mmx")).unwrap_err();
    assert!(message.contains("LVMFAST_KERNEL") && message.contains("scalar") && message.contains("mmx"));
}

#[cfg(target_arch = "aarch64")]
#[test]
fn neon_comes_first_where_it_is_part_of_the_target() {
    assert_eq!(choose(None).unwrap().name(), "neon");
    assert_eq!(choose(Some("neon")).unwrap().name(), "neon");
}

#[cfg(all(target_feature = "avx512vnni", target_feature = "avx512bw"))]
#[test]
fn avx512_comes_first_where_it_is_part_of_the_target() {
    let names: Vec<_> = available().iter().map(|kernel| kernel.name()).collect();
    assert_eq!(names[..4], ["avx512vnni", "avx512", "avx2", "scalar"]);
}
