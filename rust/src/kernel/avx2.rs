//! AVX2 with FMA: x86-64 processors since 2013.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::simd::{Fours, Simd, instructions, kernel};
use super::{DOT_COLUMNS, DOT_ROWS, Kernel, LANES, Products, SIEVE_LANES, scalar};

/// The kernel, if this processor can run it.
pub(super) fn kernel() -> Option<&'static Kernel> {
    // Twelve sums, two of the right, one broadcast of the left, and for codes one product: sixteen registers.
    static KERNEL: Kernel = Kernel {
        // SAFETY: the table leaves this function only where the features were detected.
        dots: |xs, ys| unsafe { dots(xs, ys) },
        ..kernel!("avx2", Avx2, "avx2,fma", tile: [6, 2], codes: [6, 1], 0.3)
    };
    (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(&KERNEL)
}

/// A proof that AVX2 and FMA are there.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    const WIDTH: usize = 8;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn here() -> Self {
        Self(())
    }

    instructions! {
        fn widen(self, values: &[f32; 4]) -> __m256d {
            _mm256_cvtps_pd(_mm_loadu_ps(values.as_ptr()))
        }
    }
}

impl Simd<8> for Avx2 {
    type Floats = __m256;
    type Doubles = [__m256d; 4];
    type Halves = [__m256i; 2];
    type Tests = [__m256i; 2];

    const MASK_BITS: u32 = 1;

    instructions! {
        fn spread(self, value: f32) -> __m256 {
            _mm256_set1_ps(value)
        }

        fn load(self, values: &[f32; 8]) -> __m256 {
            _mm256_loadu_ps(values.as_ptr())
        }

        fn store(self, register: __m256, values: &mut [f32; 8]) {
            _mm256_storeu_ps(values.as_mut_ptr(), register);
        }

        fn add(self, x: __m256, y: __m256) -> __m256 {
            _mm256_add_ps(x, y)
        }

        fn subtract(self, x: __m256, y: __m256) -> __m256 {
            _mm256_sub_ps(x, y)
        }

        fn multiply_add(self, x: __m256, y: __m256, sum: __m256) -> __m256 {
            _mm256_fmadd_ps(x, y, sum)
        }

        fn total(self, x: __m256) -> f32 {
            transmute::<__m256, [f32; 8]>(x).iter().sum()
        }

        fn at_least(self, values: &[f32; SIEVE_LANES], limit: f32) -> u64 {
            let mut masks = [0; 2];
            for (mask, values) in masks.iter_mut().zip(values.as_chunks().0) {
                let reached = _mm256_cmp_ps::<_CMP_GE_OQ>(self.load(values), self.spread(limit));
                *mask = _mm256_movemask_ps(reached) as u64;
            }
            masks[0] | masks[1] << 8
        }

        fn no_sums(self) -> [__m256d; 4] {
            [_mm256_setzero_pd(); 4]
        }

        fn add_products(self, sums: [__m256d; 4], x: &[f32; LANES], y: &[f32; LANES]) -> [__m256d; 4] {
            let (x, y) = (x.as_chunks().0, y.as_chunks().0);
            let mut sums = sums;
            for j in 0..4 {
                sums[j] = _mm256_fmadd_pd(self.widen(&x[j]), self.widen(&y[j]), sums[j]);
            }
            sums
        }

        fn lanes(self, sums: [__m256d; 4]) -> [f64; LANES] {
            transmute(sums)
        }

        fn spread_start(self, start: [i16; 2]) -> [__m256i; 2] {
            [_mm256_set1_epi32(transmute::<[i16; 2], i32>(start)); 2]
        }

        fn load_starts(self, starts: &[[i16; 2]; SIEVE_LANES]) -> [__m256i; 2] {
            transmute(*starts)
        }

        fn add_halves(self, x: [__m256i; 2], y: [__m256i; 2]) -> [__m256i; 2] {
            [_mm256_add_epi16(x[0], y[0]), _mm256_add_epi16(x[1], y[1])]
        }

        fn add_codes(self, sums: [__m256i; 2], left: [u8; 4], right: &Fours) -> [__m256i; 2] {
            let x = _mm256_set1_epi32(i32::from_ne_bytes(left));
            let [low, high] = transmute::<Fours, [__m256i; 2]>(*right);
            // Two products of at most 127 * 127 do not saturate.
            self.add_halves(sums, [_mm256_maddubs_epi16(low, x), _mm256_maddubs_epi16(high, x)])
        }

        fn tests(self, sums: [__m256i; 2]) -> [__m256i; 2] {
            let ones = _mm256_set1_epi16(1);
            [_mm256_madd_epi16(sums[0], ones), _mm256_madd_epi16(sums[1], ones)]
        }

        fn spread_test(self, value: i32) -> [__m256i; 2] {
            [_mm256_set1_epi32(value); 2]
        }

        fn load_tests(self, values: &[i32; SIEVE_LANES]) -> [__m256i; 2] {
            transmute(*values)
        }

        fn add_tests(self, x: [__m256i; 2], y: [__m256i; 2]) -> [__m256i; 2] {
            [_mm256_add_epi32(x[0], y[0]), _mm256_add_epi32(x[1], y[1])]
        }

        fn both(self, x: [__m256i; 2], y: [__m256i; 2]) -> [__m256i; 2] {
            [_mm256_and_si256(x[0], y[0]), _mm256_and_si256(x[1], y[1])]
        }

        fn passed(self, tests: [__m256i; 2]) -> u64 {
            let [low, high] = transmute::<[__m256i; 2], [__m256; 2]>(tests);
            !(_mm256_movemask_ps(low) | _mm256_movemask_ps(high) << 8) as u64 & 0xffff
        }
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn dots(xs: &[&[f32]; DOT_ROWS], ys: &[&[f32]; DOT_COLUMNS]) -> Products {
    let whole = xs[0].len() / LANES;
    let x = xs.map(|row| &row.as_chunks::<LANES>().0[..whole]);
    let y = ys.map(|row| &row.as_chunks::<LANES>().0[..whole]);
    let set = Avx2::here();
    let mut lanes = [[[0.0f64; LANES]; DOT_COLUMNS]; DOT_ROWS];
    // Four of the sixteen partial sums at a time: twelve pairs of them fit the registers.
    for four in 0..LANES / 4 {
        let mut sums = [[_mm256_setzero_pd(); DOT_COLUMNS]; DOT_ROWS];
        for k in 0..whole {
            let mut x_four = [_mm256_setzero_pd(); DOT_ROWS];
            for i in 0..DOT_ROWS {
                x_four[i] = set.widen(&x[i][k].as_chunks::<4>().0[four]);
            }
            for j in 0..DOT_COLUMNS {
                let y_four = set.widen(&y[j][k].as_chunks::<4>().0[four]);
                for i in 0..DOT_ROWS {
                    sums[i][j] = _mm256_fmadd_pd(x_four[i], y_four, sums[i][j]);
                }
            }
        }
        for (lanes, sum) in lanes.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            // SAFETY: the reference covers the four values that are written.
            unsafe { _mm256_storeu_pd(lanes.as_chunks_mut::<4>().0[four].as_mut_ptr(), *sum) }
        }
    }
    let mut products = [[0.0; DOT_COLUMNS]; DOT_ROWS];
    for i in 0..DOT_ROWS {
        for j in 0..DOT_COLUMNS {
            products[i][j] = scalar::finish(lanes[i][j], &xs[i][whole * LANES..], &ys[j][whole * LANES..]);
        }
    }
    products
}
