//! NEON: every 64-bit ARM processor.

use std::arch::aarch64::*;
use std::mem::transmute;

use super::simd::{Fours, Simd, instructions, kernel};
use super::{Kernel, LANES, SIEVE_LANES};

pub(super) fn kernel() -> &'static Kernel {
    // This file is compiled only for targets that have NEON, which is then on every processor. Twenty-four sums,
    // four registers of the right, one of the left, of thirty-two; for codes three rows of eight sums.
    static KERNEL: Kernel = kernel!("neon", Neon, "neon", tile: [6, 4], codes: [3, 1], 0.6);
    &KERNEL
}

/// A proof that NEON is there.
#[derive(Clone, Copy)]
struct Neon(());

impl Neon {
    const WIDTH: usize = 4;

    #[inline]
    #[target_feature(enable = "neon")]
    fn here() -> Self {
        Self(())
    }

    instructions! {
        /// The mask of the lanes that are all ones: NEON cannot gather sign bits, so they are narrowed to four.
        fn mask(self, lanes: [uint32x4_t; 4]) -> u64 {
            let low = vcombine_u16(vmovn_u32(lanes[0]), vmovn_u32(lanes[1]));
            let high = vcombine_u16(vmovn_u32(lanes[2]), vmovn_u32(lanes[3]));
            let bytes = vcombine_u8(vmovn_u16(low), vmovn_u16(high));
            let fours = vshrn_n_u16::<4>(vreinterpretq_u16_u8(bytes));
            vget_lane_u64::<0>(vreinterpret_u64_u8(fours)) & 0x1111_1111_1111_1111
        }
    }
}

impl Simd<4> for Neon {
    type Floats = float32x4_t;
    type Doubles = [[float64x2_t; 2]; LANES / 4];
    /// Four products for each of two lanes, those of a half in two sums: they are added in pairs at the end.
    type Halves = [int16x8_t; SIEVE_LANES / 2];
    type Tests = [int32x4_t; SIEVE_LANES / 4];

    const MASK_BITS: u32 = 4;

    instructions! {
        fn spread(self, value: f32) -> float32x4_t {
            vdupq_n_f32(value)
        }

        fn load(self, values: &[f32; 4]) -> float32x4_t {
            vld1q_f32(values.as_ptr())
        }

        fn store(self, register: float32x4_t, values: &mut [f32; 4]) {
            vst1q_f32(values.as_mut_ptr(), register);
        }

        fn add(self, x: float32x4_t, y: float32x4_t) -> float32x4_t {
            vaddq_f32(x, y)
        }

        fn subtract(self, x: float32x4_t, y: float32x4_t) -> float32x4_t {
            vsubq_f32(x, y)
        }

        fn multiply_add(self, x: float32x4_t, y: float32x4_t, sum: float32x4_t) -> float32x4_t {
            vfmaq_f32(sum, x, y)
        }

        fn total(self, x: float32x4_t) -> f32 {
            vaddvq_f32(x)
        }

        fn at_least(self, values: &[f32; SIEVE_LANES], limit: f32) -> u64 {
            let mut reached = [vdupq_n_u32(0); 4];
            for (reached, values) in reached.iter_mut().zip(values.as_chunks().0) {
                *reached = vcgeq_f32(self.load(values), self.spread(limit));
            }
            self.mask(reached)
        }

        fn no_sums(self) -> Self::Doubles {
            [[vdupq_n_f64(0.0); 2]; LANES / 4]
        }

        fn add_products(self, sums: Self::Doubles, x: &[f32; LANES], y: &[f32; LANES]) -> Self::Doubles {
            let mut sums = sums;
            for ((x, y), sums) in x.as_chunks().0.iter().zip(y.as_chunks().0).zip(&mut sums) {
                let (x, y) = (self.load(x), self.load(y));
                sums[0] = vfmaq_f64(sums[0], vcvt_f64_f32(vget_low_f32(x)), vcvt_f64_f32(vget_low_f32(y)));
                sums[1] = vfmaq_f64(sums[1], vcvt_high_f64_f32(x), vcvt_high_f64_f32(y));
            }
            sums
        }

        fn lanes(self, sums: Self::Doubles) -> [f64; LANES] {
            transmute(sums)
        }

        fn spread_start(self, start: [i16; 2]) -> Self::Halves {
            let [low, high] = start.map(|half| u64::from(half as u16));
            [vreinterpretq_s16_u64(vdupq_n_u64(low | high << 32)); SIEVE_LANES / 2]
        }

        fn load_starts(self, starts: &[[i16; 2]; SIEVE_LANES]) -> Self::Halves {
            let mut halves = [vdupq_n_s16(0); SIEVE_LANES / 2];
            for (halves, two) in halves.iter_mut().zip(starts.as_chunks::<2>().0) {
                // Each into the first of the two sums of its half.
                *halves = vreinterpretq_s16_u32(vmovl_u16(vld1_u16(two.as_ptr().cast())));
            }
            halves
        }

        fn add_halves(self, x: Self::Halves, y: Self::Halves) -> Self::Halves {
            let mut sums = x;
            for (sum, y) in sums.iter_mut().zip(y) {
                *sum = vaddq_s16(*sum, y);
            }
            sums
        }

        fn add_codes(self, sums: Self::Halves, left: [u8; 4], right: &Fours) -> Self::Halves {
            let x = vreinterpret_s8_s32(vdup_n_s32(i32::from_ne_bytes(left)));
            let mut sums = sums;
            for (sum, two) in sums.iter_mut().zip(right.as_chunks::<8>().0) {
                // Right codes are below 128, so that they are the same signed.
                *sum = vmlal_s8(*sum, x, vreinterpret_s8_u8(vld1_u8(two.as_ptr())));
            }
            sums
        }

        fn tests(self, sums: Self::Halves) -> Self::Tests {
            let mut tests = [vdupq_n_s32(0); SIEVE_LANES / 4];
            for (test, pair) in tests.iter_mut().zip(sums.as_chunks::<2>().0) {
                *test = vpaddlq_s16(vpaddq_s16(pair[0], pair[1]));
            }
            tests
        }

        fn spread_test(self, value: i32) -> Self::Tests {
            [vdupq_n_s32(value); SIEVE_LANES / 4]
        }

        fn load_tests(self, values: &[i32; SIEVE_LANES]) -> Self::Tests {
            transmute(*values)
        }

        fn add_tests(self, x: Self::Tests, y: Self::Tests) -> Self::Tests {
            let mut sums = x;
            for (sum, y) in sums.iter_mut().zip(y) {
                *sum = vaddq_s32(*sum, y);
            }
            sums
        }

        fn both(self, x: Self::Tests, y: Self::Tests) -> Self::Tests {
            let mut both = x;
            for (both, y) in both.iter_mut().zip(y) {
                *both = vandq_s32(*both, y);
            }
            both
        }

        fn passed(self, tests: Self::Tests) -> u64 {
            let mut lanes = [vdupq_n_u32(0); SIEVE_LANES / 4];
            for (lanes, test) in lanes.iter_mut().zip(tests) {
                *lanes = vcgezq_s32(test);
            }
            self.mask(lanes)
        }
    }
}
