//! The hash of a token, of the bytes of its folded characters.

use crate::kernel::words::BLOCK;

/// Bytes that are hashed at a time.
const CHUNK: usize = 16;

/// What a hash begins with.
const START: u64 = 0x9e37_fe79_b9ff_7c15;
const FACTORS: [u64; 4] =
    [0xd6e8_feb8_ff59_fd93, 0xa076_1dff_78bd_fe42, 0xe703_7ed1_feb4_28ff, 0x8ebc_6afe_09c8_ff4b];
/// Turns ASCII letters into small ones and leaves digits as they are.
const LOWER_CASE: u128 = u128::from_le_bytes([0x20; CHUNK]);

/// The hash of 16 bytes more: the sum of two products with nothing in common, so that a change that leaves one
/// of them does not leave the other.
#[inline(always)]
fn mix(hash: u64, chunk: u128) -> u64 {
    let product = |[a, b]: [u64; 2]| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let [one, other] = multiplied(hash, chunk);
    product(one).wrapping_add(product(other))
}

#[inline(always)]
fn multiplied(hash: u64, chunk: u128) -> [[u64; 2]; 2] {
    let (low, high) = (chunk as u64, (chunk >> 64) as u64);
    [
        [low ^ hash ^ FACTORS[0], high ^ FACTORS[1]],
        [low ^ FACTORS[2], high ^ hash.rotate_left(32) ^ FACTORS[3]],
    ]
}

/// The lowest `length` bytes, for lengths up to 16.
const LOWEST: [u128; CHUNK + 1] = {
    let mut masks = [0; CHUNK + 1];
    let mut length = 1;
    while length <= CHUNK {
        masks[length] = masks[length - 1] << 8 | 0xff;
        length += 1;
    }
    masks
};

/// The hash of ASCII letters and digits in any case, the first `length` of `bytes`.
#[inline(always)]
pub(super) fn hash_ascii(bytes: &[u8], length: usize) -> u64 {
    match bytes.first_chunk() {
        Some(chunk) if length <= CHUNK => {
            mix(START, (u128::from_le_bytes(*chunk) | LOWER_CASE) & LOWEST[length])
        }
        _ => hash_long_ascii(&bytes[..length]),
    }
}

#[inline(never)]
fn hash_long_ascii(word: &[u8]) -> u64 {
    word.chunks(CHUNK).fold(START, |hash, bytes| {
        let mut chunk = [0; CHUNK];
        chunk[..bytes.len()].copy_from_slice(bytes);
        mix(hash, (u128::from_le_bytes(chunk) | LOWER_CASE) & LOWEST[bytes.len()])
    })
}

/// The hash of the first `length` of bytes that are folded.
#[inline(always)]
pub(super) fn hash_folded(bytes: &[u8; BLOCK], length: usize) -> u64 {
    let (mut hash, mut left) = (START, length);
    for chunk in bytes.as_chunks::<CHUNK>().0 {
        let chunk = u128::from_le_bytes(*chunk);
        if left <= CHUNK {
            return mix(hash, chunk & LOWEST[left]);
        }
        hash = mix(hash, chunk);
        left -= CHUNK;
    }
    hash
}

/// The hash of one folded character, the first byte lowest.
#[inline(always)]
pub(super) fn hash_of_character(bytes: u32) -> u64 {
    mix(START, u128::from(bytes))
}

/// The hash of bytes that come character by character.
#[derive(Clone, Copy)]
pub(super) struct Hasher {
    hash: u64,
    /// Bytes that are not hashed yet.
    chunk: u128,
    length: usize,
}

impl Hasher {
    pub(super) const START: Self = Self { hash: START, chunk: 0, length: 0 };

    /// Up to four bytes more, the first one lowest.
    #[inline(always)]
    pub(super) fn append(&mut self, bytes: u32, length: u8) {
        let (bytes, length) = (u128::from(bytes), usize::from(length));
        let at = self.length % CHUNK;
        self.chunk |= bytes << (8 * at);
        self.length += length;
        if at + length >= CHUNK {
            self.hash = mix(self.hash, self.chunk);
            self.chunk = bytes >> (8 * (CHUNK - at));
        }
    }

    #[inline(always)]
    pub(super) fn hash(&self) -> u64 {
        if self.length.is_multiple_of(CHUNK) { self.hash } else { mix(self.hash, self.chunk) }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// What a whole number of a product has to be for it to be zero, which would lose the other.
    #[test]
    fn no_word_makes_a_product_zero() {
        for number in multiplied(START, 0).as_flattened() {
            let in_no_text = |byte: &u8| matches!(byte, 0xc0 | 0xc1 | 0xf5..=0xff);
            assert!(number.to_le_bytes().iter().any(in_no_text), "{number:x}");
        }
    }

    /// Neighbours in every respect: a bit of any half of a hash that hardly moves would show.
    #[test]
    fn halves_of_hashes_of_like_words_are_as_different_as_numbers_drawn() {
        let words: Vec<String> = (0..400_000).map(|i| format!("{i}")).collect();
        let long: Vec<String> = (0..400_000).map(|i| format!("a-long-beginning-{i}-end")).collect();
        for words in [words, long] {
            let hashes: Vec<u64> = words.iter().map(|word| hash_ascii(word.as_bytes(), word.len())).collect();
            assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), hashes.len());
            for shift in [0, 16, 32] {
                let halves: HashSet<u32> = hashes.iter().map(|hash| (hash >> shift) as u32).collect();
                // n^2 / 2^33 = 18.6 are expected to be equal.
                assert!((1..50).contains(&(hashes.len() - halves.len())));
            }
        }
    }
}
