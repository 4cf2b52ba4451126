//! Which bytes of a text belong to ASCII words, 64 at a time; and the loop around it, compiled for the
//! instructions that it is handed.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Bytes of a block.
pub const BLOCK: usize = 64;

/// Of each byte of a block, from the lowest bit on, what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masks {
    /// ASCII letters and digits.
    pub words: u64,
    /// Bytes of characters that are not ASCII.
    pub others: u64,
}

/// A way to tell the bytes of a block; every way gives the same.
pub trait Classify: Copy {
    /// What the bytes of `block` are.
    fn masks(self, block: &[u8; BLOCK]) -> Masks;
}

/// A loop over blocks. `run` has to be `#[inline(always)]`, or it is not compiled for what it is handed.
pub trait Work {
    /// Runs with this way to tell bytes.
    fn run(self, classify: impl Classify);
}

/// Runs `work` with the fastest way that this processor has, or with plain code if [`super::VARIABLE`] says
/// `scalar`.
pub fn run(work: impl Work) {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = Avx2::of_this_processor()
        && super::active().is_ok_and(|kernel| kernel.name() != "scalar")
    {
        return avx2.run(work);
    }
    work.run(Plain);
}

/// Runs `work` with plain code.
#[cfg(test)]
pub fn run_plainly(work: impl Work) {
    work.run(Plain);
}

/// Eight bytes at a time in a register of any processor.
#[derive(Clone, Copy, Debug)]
struct Plain;

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * EACH;
const TO_LOWER: u8 = 0x20;

impl Classify for Plain {
    #[inline(always)]
    fn masks(self, block: &[u8; BLOCK]) -> Masks {
        let mut masks = Masks { words: 0, others: 0 };
        for (i, eight) in block.as_chunks::<8>().0.iter().enumerate() {
            let bytes = u64::from_le_bytes(*eight);
            let seven = bytes & !HIGH;
            // In each byte, the highest bit: at least the first, and not more than the last of a range.
            let from = |bytes: u64, first: u8| bytes.wrapping_add(u64::from(0x80 - first) * EACH);
            let lower = seven | (u64::from(TO_LOWER) * EACH);
            let letters = from(lower, b'a') & !from(lower, b'z' + 1);
            let digits = from(seven, b'0') & !from(seven, b'9' + 1);
            masks.words |= highest((letters | digits) & !bytes) << (8 * i);
            masks.others |= highest(bytes) << (8 * i);
        }
        masks
    }
}

/// The highest bits of eight bytes, side by side.
#[inline(always)]
fn highest(bytes: u64) -> u64 {
    ((bytes >> 7) & EACH).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// 32 bytes at a time; there is one only where the processor has the instructions.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
struct Avx2(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    fn of_this_processor() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt");
        has.then_some(Self(()))
    }

    fn run(self, work: impl Work) {
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
        fn run(classify: Avx2, work: impl Work) {
            work.run(classify);
        }
        // SAFETY: that there is an `Avx2` says that the processor has these features.
        unsafe { run(self, work) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Classify for Avx2 {
    #[inline(always)]
    fn masks(self, block: &[u8; BLOCK]) -> Masks {
        // SAFETY: that there is an `Avx2` says that the processor has these features.
        unsafe { masks(block) }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
fn masks(block: &[u8; BLOCK]) -> Masks {
    let halves = block.as_chunks::<32>().0;
    let [low, high] = [half(&halves[0]), half(&halves[1])];
    Masks {
        words: u64::from(low.0) | u64::from(high.0) << 32,
        others: u64::from(low.1) | u64::from(high.1) << 32,
    }
}

/// The masks of words and of others.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
fn half(bytes: &[u8; 32]) -> (u32, u32) {
    // SAFETY: the reference covers the 32 bytes that are read.
    let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
    // Signed bytes: what is not ASCII is below every bound.
    let within = |bytes, first: u8, last: u8| {
        let from = _mm256_cmpgt_epi8(bytes, _mm256_set1_epi8(first as i8 - 1));
        _mm256_and_si256(from, _mm256_cmpgt_epi8(_mm256_set1_epi8(last as i8 + 1), bytes))
    };
    let lower = _mm256_or_si256(bytes, _mm256_set1_epi8(TO_LOWER as i8));
    let words = _mm256_or_si256(within(lower, b'a', b'z'), within(bytes, b'0', b'9'));
    (_mm256_movemask_epi8(words) as u32, _mm256_movemask_epi8(bytes) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way that this processor has.
    fn ways(block: &[u8; BLOCK]) -> Vec<Masks> {
        #[cfg(target_arch = "x86_64")]
        let faster = Avx2::of_this_processor().map(|avx2| avx2.masks(block));
        #[cfg(not(target_arch = "x86_64"))]
        let faster = None;
        [Some(Plain.masks(block)), faster].into_iter().flatten().collect()
    }

    #[test]
    fn every_byte_at_every_place_is_what_it_is() {
        for byte in 0..=255u8 {
            for place in 0..BLOCK {
                // Neighbours at both ends of the bytes: a sum that carries would show.
                for around in [0, b'a', 0x7f, 0xff] {
                    let mut block = [around; BLOCK];
                    block[place] = byte;
                    let mask = |is: fn(&u8) -> bool| {
                        block.iter().enumerate().fold(0, |mask, (i, byte)| mask | u64::from(is(byte)) << i)
                    };
                    let expected = Masks {
                        words: mask(u8::is_ascii_alphanumeric),
                        others: mask(|byte| !byte.is_ascii()),
                    };
                    for masks in ways(&block) {
                        assert_eq!(masks, expected, "{byte} at {place} among {around}");
                    }
                }
            }
        }
    }
}
