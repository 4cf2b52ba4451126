//! BLAKE3 of files, so that a report says which bytes it speaks of.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::ScanError;
use crate::parallel::Watch;

const BLOCK: usize = 16 << 20;

/// The BLAKE3 hash of a file in hexadecimal, read in blocks and hashed in parallel.
///
/// # Errors
/// [`ScanError::Io`] when the file cannot be read; [`ScanError::Cancelled`].
pub fn blake3_file(path: &Path, watch: &Watch) -> Result<String, ScanError> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; BLOCK];
    loop {
        watch.check()?;
        let mut filled = 0;
        while filled < BLOCK {
            match file.read(&mut block[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        hasher.update_rayon(&block[..filled]);
        watch.advance(filled as u64);
        if filled < BLOCK {
            return Ok(hasher.finalize().to_hex().to_string());
        }
    }
}
