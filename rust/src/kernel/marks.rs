//! Which bytes of a JSON string are not simply its text, 32 at a time.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Bytes of a block.
pub const BLOCK: usize = 32;

/// Of each byte of `block`, from the lowest bit on, whether it is a quote, a backslash or a control character.
#[inline(always)]
pub fn marks(block: &[u8; BLOCK]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        let [low, high] = block.as_chunks::<16>().0 else { unreachable!("two halves") };
        sixteen(low) | sixteen(high) << 16
    }
    #[cfg(not(target_arch = "x86_64"))]
    plainly(block)
}

/// SSE2, which every processor of this architecture has.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn sixteen(bytes: &[u8; 16]) -> u32 {
    // SAFETY: the reference covers the 16 bytes that are read, and SSE2 is part of the architecture.
    unsafe {
        let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
        let is = |byte: u8| _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(is(b'"'), is(b'\\')), control)) as u32
    }
}

/// Eight bytes at a time in a register of any processor.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn plainly(block: &[u8; BLOCK]) -> u32 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let mut marks = 0;
    for (i, eight) in block.as_chunks::<8>().0.iter().enumerate() {
        let bytes = u64::from_le_bytes(*eight);
        // In each byte the highest bit, where its lower seven are 0, or where it is below a space.
        let zero = |seven: u64| !((seven & !HIGH) + !HIGH);
        let is = |byte: u8| zero(bytes ^ (u64::from(byte) * EACH));
        let control = !((bytes & !HIGH) + u64::from(0x80 - b' ') * EACH);
        let found = (is(b'"') | is(b'\\') | control) & !bytes & HIGH;
        marks |= (((found >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32) << (8 * i);
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_what_it_is() {
        for byte in 0..=255u8 {
            for place in 0..BLOCK {
                // Neighbours at both ends of the bytes: a sum that carries would show.
                for around in [0, b'"', b'a', 0x7f, 0xff] {
                    let mut block = [around; BLOCK];
                    block[place] = byte;
                    let marked = |&byte: &u8| matches!(byte, 0..=0x1f | b'"' | b'\\');
                    let expected =
                        block.iter().enumerate().fold(0, |m, (i, b)| m | u32::from(marked(b)) << i);
                    assert_eq!(marks(&block), expected, "{byte} at {place} among {around}");
                    assert_eq!(plainly(&block), expected, "{byte} at {place} among {around}");
                }
            }
        }
    }
}
