//! BLAKE3 of files, so that a report says which bytes it speaks of.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::error::ScanError;
use crate::parallel::{self, Watch};

const BLOCK: usize = 1 << 20;

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

/// The hashes of files, made on the crate's pool while the caller does other work. Dropped, it stops.
#[derive(Debug)]
pub struct Hashing {
    watch: Arc<Watch>,
    hashes: Receiver<Result<Vec<String>, ScanError>>,
}

impl Hashing {
    /// Starts with the first of `paths`.
    ///
    /// # Errors
    /// [`ScanError::Threads`] when the system gives no threads.
    pub fn start(paths: Vec<PathBuf>, threads: usize) -> Result<Self, ScanError> {
        let pool = parallel::pool(threads)?;
        let watch = Arc::new(Watch::new());
        let (finished, hashes) = mpsc::channel();
        let watched = Arc::clone(&watch);
        // Not waited for here: the pool works through it beside what the caller asks of it.
        pool.spawn(move || {
            // Nobody may be listening any more, and then nobody wants the hashes.
            drop(finished.send(paths.iter().map(|path| blake3_file(path, &watched)).collect()));
        });
        Ok(Self { watch, hashes })
    }

    /// The hashes in the order of the paths, or `None` when they are not there `within` that time. They are
    /// given once.
    ///
    /// # Errors
    /// As [`blake3_file`]; [`ScanError::Cancelled`] when they were given before.
    pub fn wait(&self, within: Duration) -> Result<Option<Vec<String>>, ScanError> {
        match self.hashes.recv_timeout(within) {
            Ok(hashes) => hashes.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(ScanError::Cancelled),
        }
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        self.watch.cancel();
    }
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
    fn files_are_hashed_while_the_pool_does_other_work() {
        let paths: Vec<PathBuf> = (0..3)
            .map(|i| std::env::temp_dir().join(format!("lvmfast-hashing-{}-{i}", std::process::id())))
            .collect();
        let expected: Vec<String> = (0..3u8)
            .map(|i| {
                let bytes = vec![i; usize::from(i) * BLOCK + 5];
                std::fs::write(&paths[usize::from(i)], &bytes).unwrap();
                blake3::hash(&bytes).to_hex().to_string()
            })
            .collect();
        for threads in [1, 2] {
            let hashing = Hashing::start(paths.clone(), threads).unwrap();
            let sum: u64 = parallel::pool(threads).unwrap().install(|| {
                use rayon::prelude::*;
                (0..100_000u64).into_par_iter().sum()
            });
            assert_eq!(sum, 4_999_950_000);
            assert_eq!(hashing.wait(Duration::from_secs(60)).unwrap(), Some(expected.clone()));
        }
        drop(Hashing::start(paths.clone(), 1).unwrap());
        paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        let error = Hashing::start(paths, 1).unwrap().wait(Duration::from_secs(60)).unwrap_err();
        assert!(matches!(error, ScanError::Io(_)), "{error}");
    }

    #[test]
    fn an_error_names_the_file() {
        for path in [Path::new("no/such/file"), &std::env::temp_dir()] {
            let error = blake3_file(path, &Watch::new()).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{}: ", path.display())), "{error}");
        }
    }
}
