//! BLAKE3 of files, so that a report says which bytes it speaks of.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::error::ScanError;
use crate::parallel::Watch;

const BLOCK: usize = 4 << 20;

/// The BLAKE3 hash of a file in hexadecimal. One block is hashed in parallel while the next is read.
///
/// # Errors
/// [`ScanError::Io`], naming the file, when it cannot be read; [`ScanError::Cancelled`].
pub fn blake3_file(path: &Path, watch: &Watch) -> Result<String, ScanError> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    let mut file = File::open(path).map_err(named)?;
    let mut hasher = blake3::Hasher::new();
    let (mut block, mut next) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
    read_block(&mut file, &mut block).map_err(named)?;
    while !block.is_empty() {
        watch.check()?;
        let (read, _) = rayon::join(|| read_block(&mut file, &mut next), || hasher.update_rayon(&block));
        read.map_err(named)?;
        watch.advance(block.len() as u64);
        std::mem::swap(&mut block, &mut next);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// The BLAKE3 hash of bytes in memory, in hexadecimal.
pub fn blake3_bytes(bytes: &[u8]) -> String {
    blake3::Hasher::new().update_rayon(bytes).finalize().to_hex().to_string()
}

/// Replaces `block` by the next bytes of the file: as many as a block holds, or what is left.
fn read_block(file: &mut File, block: &mut Vec<u8>) -> io::Result<usize> {
    block.clear();
    file.take(BLOCK as u64).read_to_end(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_file_is_that_of_its_bytes() {
        let path = std::env::temp_dir().join(format!("lvmfast-digest-{}", std::process::id()));
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let hash = blake3_file(&path, &Watch::new()).unwrap();
            assert_eq!(hash, blake3::hash(&bytes).to_hex().to_string(), "{len} bytes");
            assert_eq!(hash, blake3_bytes(&bytes), "{len} bytes");
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn an_error_names_the_file() {
        for path in [Path::new("no/such/file"), &std::env::temp_dir()] {
            let error = blake3_file(path, &Watch::new()).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{}: ", path.display())), "{error}");
        }
    }
}
