//! Many strings in one buffer.

use crate::error::ScanError;

/// Row `i` is `data[offsets[i]..offsets[i + 1]]` (Arrow's `large_string`).
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    data: &'a [u8],
    offsets: &'a [i64],
}

impl<'a> Texts<'a> {
    /// Rows over `data`, bounded by `offsets` (one more than there are rows; empty means no rows).
    ///
    /// # Errors
    /// [`ScanError::Shape`] when offsets decrease or leave the buffer.
    pub fn new(data: &'a [u8], offsets: &'a [i64]) -> Result<Self, ScanError> {
        let inside = offsets.first().is_none_or(|&first| first >= 0)
            && offsets.last().is_none_or(|&last| last <= data.len() as i64)
            && offsets.windows(2).all(|w| w[0] <= w[1]);
        if !inside {
            return Err(ScanError::Shape(format!(
                "text offsets: expected ascending positions within {} bytes",
                data.len()
            )));
        }
        Ok(Self { data, offsets })
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of one row.
    pub fn bytes(&self, row: usize) -> &'a [u8] {
        &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// The row after those from `start` on that hold at most `bytes` together, but after one at least.
    pub(crate) fn rows_within(&self, start: usize, bytes: i64) -> usize {
        let limit = self.offsets[start].saturating_add(bytes);
        let rows = self.offsets[start + 1..].partition_point(|&end| end <= limit);
        self.len().min(start + rows.max(1))
    }

    pub(crate) fn text(&self, row: usize) -> Result<&'a str, ScanError> {
        // On text that is not ASCII the standard library's check would take longer than the normalisation.
        simdutf8::compat::from_utf8(self.bytes(row))
            .map_err(|e| ScanError::Value(format!("text row {row} is not UTF-8: {e}")))
    }
}

/// Whether every text is UTF-8 that ends at the next of `offsets`.
pub(crate) fn all_utf8(data: &[u8], offsets: &[i64]) -> bool {
    let inside = |&end: &i64| data.get(end as usize).is_some_and(|byte| byte & 0xc0 == 0x80);
    simdutf8::basic::from_utf8(data).is_ok() && !offsets.iter().any(inside)
}
