//! AVX-512 with its byte and word instructions: Intel's servers since 2017, AMD's processors since Zen 4. Most have
//! VNNI besides, which multiplies bytes and adds to 32 bits in one instruction.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::avx2::{self, Avx2};
use super::simd::{Fours, Simd, cut, fours, instructions, kernel, panels, push_passed};
use super::{Blocked, CODE_OFFSET, Kernel, LANES, LongCodes, SIEVE_LANES, SIEVE_ROWS};

/// Without VNNI. 24 sums, two of the right, one broadcast of the left, of 32 registers; for codes twelve sums, of
/// two right panels, for a load costs as much as a product.
static PLAIN: Kernel = Kernel {
    // SAFETY: the table leaves this file only where the features were detected.
    dots: |xs, ys| unsafe { avx2::dots(xs, ys) },
    ..kernel!("avx512", Avx512, "avx512f,avx512bw", tile: [12, 2], codes: [SIEVE_ROWS, 2], 0.3)
};

static WITH_VNNI: Kernel = Kernel {
    name: "avx512vnni",
    // SAFETY: as above.
    sift: |left, right, blocked, positions| unsafe { sift_vnni(left, right, blocked, positions) },
    sift_share: 0.27,
    ..PLAIN
};

/// The kernels that this processor can run, fastest first.
pub(super) fn kernels() -> impl Iterator<Item = &'static Kernel> {
    let plain = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && avx2::kernel().is_some();
    let vnni = plain && is_x86_feature_detected!("avx512vnni");
    vnni.then_some(&WITH_VNNI).into_iter().chain(plain.then_some(&PLAIN))
}

/// A proof that AVX-512 is there, and what it includes.
#[derive(Clone, Copy)]
struct Avx512(Avx2);

impl Avx512 {
    const WIDTH: usize = 16;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn here() -> Self {
        Self(Avx2::here())
    }

    instructions! {
        fn widen(self, values: &[f32; 8]) -> __m512d {
            _mm512_cvtps_pd(self.0.load(values))
        }

        fn load_codes(self, codes: &Fours) -> __m512i {
            _mm512_loadu_si512(codes.as_ptr().cast())
        }
    }
}

impl Simd<16> for Avx512 {
    type Floats = __m512;
    type Doubles = [__m512d; 2];
    type Halves = __m512i;
    type Tests = __m512i;

    const MASK_BITS: u32 = 1;

    instructions! {
        fn spread(self, value: f32) -> __m512 {
            _mm512_set1_ps(value)
        }

        fn load(self, values: &[f32; 16]) -> __m512 {
            _mm512_loadu_ps(values.as_ptr())
        }

        fn store(self, register: __m512, values: &mut [f32; 16]) {
            _mm512_storeu_ps(values.as_mut_ptr(), register);
        }

        fn add(self, x: __m512, y: __m512) -> __m512 {
            _mm512_add_ps(x, y)
        }

        fn subtract(self, x: __m512, y: __m512) -> __m512 {
            _mm512_sub_ps(x, y)
        }

        fn multiply_add(self, x: __m512, y: __m512, sum: __m512) -> __m512 {
            _mm512_fmadd_ps(x, y, sum)
        }

        fn total(self, x: __m512) -> f32 {
            transmute::<__m512, [f32; 16]>(x).iter().sum()
        }

        fn at_least(self, values: &[f32; SIEVE_LANES], limit: f32) -> u64 {
            u64::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(self.load(values), self.spread(limit)))
        }

        fn no_sums(self) -> [__m512d; 2] {
            [_mm512_setzero_pd(); 2]
        }

        fn add_products(self, sums: [__m512d; 2], x: &[f32; LANES], y: &[f32; LANES]) -> [__m512d; 2] {
            let (x, y) = (x.as_chunks().0, y.as_chunks().0);
            let mut sums = sums;
            for j in 0..2 {
                sums[j] = _mm512_fmadd_pd(self.widen(&x[j]), self.widen(&y[j]), sums[j]);
            }
            sums
        }

        fn lanes(self, sums: [__m512d; 2]) -> [f64; LANES] {
            transmute(sums)
        }

        fn spread_start(self, start: [i16; 2]) -> __m512i {
            _mm512_set1_epi32(transmute::<[i16; 2], i32>(start))
        }

        fn load_starts(self, starts: &[[i16; 2]; SIEVE_LANES]) -> __m512i {
            transmute(*starts)
        }

        fn add_halves(self, x: __m512i, y: __m512i) -> __m512i {
            _mm512_add_epi16(x, y)
        }

        fn add_codes(self, sums: __m512i, left: [u8; 4], right: &Fours) -> __m512i {
            let x = _mm512_set1_epi32(i32::from_ne_bytes(left));
            // Two products of at most 127 * 127 do not saturate.
            _mm512_add_epi16(sums, _mm512_maddubs_epi16(self.load_codes(right), x))
        }

        fn tests(self, sums: __m512i) -> __m512i {
            _mm512_madd_epi16(sums, _mm512_set1_epi16(1))
        }

        fn spread_test(self, value: i32) -> __m512i {
            _mm512_set1_epi32(value)
        }

        fn load_tests(self, values: &[i32; SIEVE_LANES]) -> __m512i {
            transmute(*values)
        }

        fn add_tests(self, x: __m512i, y: __m512i) -> __m512i {
            _mm512_add_epi32(x, y)
        }

        fn both(self, x: __m512i, y: __m512i) -> __m512i {
            _mm512_and_si512(x, y)
        }

        fn passed(self, tests: __m512i) -> u64 {
            u64::from(_mm512_cmpge_epi32_mask(tests, _mm512_setzero_si512()))
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sift_vnni(left: &LongCodes<'_>, right: &LongCodes<'_>, blocked: Blocked, positions: &mut Vec<u32>) {
    let stride = right.starts.len() as u32;
    for (from, right) in right.panels(blocked.width, 2) {
        if right.starts.len() == SIEVE_LANES {
            sift_panels_vnni::<1>(left, &right, blocked, (from, stride), positions);
        } else {
            sift_panels_vnni::<2>(left, &right, blocked, (from, stride), positions);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sift_panels_vnni<const PANELS: usize>(
    left: &LongCodes<'_>,
    right: &LongCodes<'_>,
    blocked: Blocked,
    (from, stride): (u32, u32),
    positions: &mut Vec<u32>,
) {
    let set = Avx512::here();
    let panels = panels::<PANELS>(right.bytes, blocked.width);
    let mut lane_starts = [_mm512_setzero_si512(); PANELS];
    for (start, starts) in lane_starts.iter_mut().zip(right.starts.as_chunks().0) {
        *start = set.load_tests(starts);
    }
    let rows = left.bytes.chunks_exact(SIEVE_ROWS * blocked.width);
    let rows = rows.zip(left.sums.chunks_exact(SIEVE_ROWS * blocked.blocks()));
    let starts = left.starts.as_chunks::<SIEVE_ROWS>().0;
    for (((rows, row_sums), starts), first) in rows.zip(starts).zip((0u32..).step_by(SIEVE_ROWS)) {
        let mut tests = [lane_starts; SIEVE_ROWS];
        let row_starts = starts.iter().zip(row_sums.chunks_exact(blocked.blocks()));
        for (tests, (start, sums)) in tests.iter_mut().zip(row_starts) {
            let sum: i32 = sums.as_flattened().iter().map(|&sum| i32::from(sum)).sum();
            let start = _mm512_set1_epi32(start - CODE_OFFSET * sum);
            for test in tests {
                *test = _mm512_add_epi32(*test, start);
            }
        }
        let count = panels[0].len();
        let x = fours::<SIEVE_ROWS>(rows, 0, count);
        let panels = cut(panels, 0, count);
        for k in 0..count {
            for i in 0..SIEVE_ROWS {
                let x = _mm512_set1_epi32(i32::from_ne_bytes(x[i][k]));
                for j in 0..PANELS {
                    tests[i][j] = _mm512_dpbusd_epi32(tests[i][j], set.load_codes(&panels[j][k]), x);
                }
            }
        }
        push_passed(set, tests, first * stride + from, stride, positions);
    }
}
