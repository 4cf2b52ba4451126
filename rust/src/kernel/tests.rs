//! Every kernel against sums written here, and against scalar; never against itself.

use proptest::prelude::*;

use super::*;

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
        for kernel in available() {
            prop_assert_eq!(kernel.dot(&x, &y).to_bits(), documented_dot(&x, &y).to_bits(), "{}", kernel.name());
        }
    }

    #[test]
    fn multiply_is_within_its_error_bound(depth in 0usize..80, seed in prop::collection::vec(-1.0f32..1.0, 64)) {
        for kernel in available() {
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
    fn at_least_finds_what_a_loop_finds(
        values in prop::collection::vec(prop_oneof![-1.0f32..1.0, Just(0.5f32), Just(f32::NAN)], 0..100),
        limit in prop_oneof![Just(0.5f32), -1.5f32..1.5],
    ) {
        let expected: Vec<u32> = (0..values.len()).filter(|&i| values[i] >= limit).map(|i| i as u32).collect();
        for kernel in available() {
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
        for kernel in available() {
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
