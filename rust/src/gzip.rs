//! A member of a gzip file (RFC 1952), decompressed in bounded pieces by zlib-rs.

use flate2::{Decompress, FlushDecompress, Status};

use crate::error::ScanError;

/// The largest window that gzip has, as an exponent of 2.
const WINDOW_BITS: u8 = 15;
/// Bytes that are made room for at once.
const PIECE: usize = 256 << 10;

/// One member: header, data, and the checks behind them.
pub struct Member {
    stream: Decompress,
    held: Vec<u8>,
    used: usize,
    full: bool,
    ended: bool,
}

impl Default for Member {
    fn default() -> Self {
        let stream = Decompress::new_gzip(WINDOW_BITS);
        Self { stream, held: Vec::new(), used: 0, full: false, ended: false }
    }
}

impl Member {
    /// Whether its end was met.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Whether it gives nothing more without other compressed bytes.
    pub fn needs_input(&self) -> bool {
        !self.full && self.rest().is_empty()
    }

    /// The bytes that it was given and did not use.
    pub fn rest(&self) -> &[u8] {
        &self.held[self.used..]
    }

    /// Takes compressed bytes and puts what they hold behind `out`, at most `most` bytes.
    ///
    /// # Errors
    /// [`ScanError::Value`] where they are no gzip or do not agree with their checks.
    pub fn decompress(&mut self, data: &[u8], most: usize, out: &mut Vec<u8>) -> Result<(), ScanError> {
        self.held.drain(..self.used);
        self.held.extend_from_slice(data);
        self.used = 0;
        let limit = out.len() + most;
        while out.len() < limit && !self.ended {
            let (start, read, made) = (out.len(), self.stream.total_in(), self.stream.total_out());
            out.resize(limit.min(start + PIECE), 0);
            let status =
                self.stream.decompress(&self.held[self.used..], &mut out[start..], FlushDecompress::None);
            let status = status.map_err(|error| {
                // In the words of zlib for Python.
                let what = error.message().unwrap_or("invalid data");
                ScanError::Value(format!("Error -3 while decompressing data: {what}"))
            })?;
            self.used += (self.stream.total_in() - read) as usize;
            out.truncate(start + (self.stream.total_out() - made) as usize);
            self.ended = status == Status::StreamEnd;
            if out.len() < limit.min(start + PIECE) {
                break; // what was given is used up
            }
        }
        self.full = out.len() == limit;
        Ok(())
    }
}
