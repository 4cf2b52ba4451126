//! Lines of JSON objects: the fields that are asked for become Arrow columns, the rest is passed over.
//!
//! What is out of the ordinary is not read here at all: a broken line, a value that does not fit its field, a
//! field that stands twice, half of a surrogate pair, an integer of many hundred digits. Then the whole block is
//! left to a reader that takes its time, which names the line or makes something of it. So every block is read
//! as that one would read it, and this one has one answer to everything it does not know.
//!
//! What is passed over is held to the grammar, byte by byte, but is not held to UTF-8, and neither its numbers
//! nor its escapes are worked out. It may be as deep as it likes: no call is made for a bracket.
//! (sonic-rs, whose lazy values would do the same, calls itself for each and takes any four bytes for `\u`.)

mod columns;
mod cursor;
mod numbers;

use hashbrown::HashMap;

use self::columns::Column;
pub use self::columns::{Buffer, Kind};
use self::cursor::{Cursor, Read, Unusual};

/// Line ends among `bytes`.
pub fn line_ends(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

/// Reads blocks of lines.
pub struct Reader {
    /// The place of every field: those that are columns first.
    places: HashMap<Vec<u8>, usize>,
    kinds: Vec<Kind>,
    /// Bytes of text that the last block had in each column, and some: the next one has room for them.
    sizes: Vec<usize>,
}

/// Rows, and the buffers of each column.
pub type Rows = (usize, Vec<Vec<Buffer>>);

impl Reader {
    /// A reader of the fields `columns`, which holds the fields `nulls` to be null wherever they stand.
    pub fn new(columns: Vec<(String, Kind)>, nulls: Vec<String>) -> Self {
        let (names, kinds): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let places = names.into_iter().chain(nulls).map(String::into_bytes).zip(0..).collect();
        Self { places, sizes: vec![0; kinds.len()], kinds }
    }

    /// The rows of whole lines, which come in parts of whole lines; blank lines are none. None where anything
    /// is out of the ordinary.
    pub fn read(&mut self, parts: &[&[u8]]) -> Option<Rows> {
        let columns =
            self.kinds.iter().zip(&self.sizes).map(|(&kind, &size)| Column::new(kind, size)).collect();
        let seen = vec![0; self.places.len()];
        let mut block = Block { places: &self.places, columns, seen, rows: 0, scratch: Vec::new() };
        parts.iter().try_for_each(|part| block.lines(part)).ok()?;
        let rows = block.rows;
        let finished: Vec<_> = block.columns.into_iter().map(Column::finish).collect::<Read<_>>().ok()?;
        self.sizes = finished.iter().map(|(_, size)| size + size / 8).collect();
        Some((rows, finished.into_iter().map(|(buffers, _)| buffers).collect()))
    }
}

/// What was read of a block.
struct Block<'a> {
    places: &'a HashMap<Vec<u8>, usize>,
    columns: Vec<Column>,
    /// Of each field, the last row that has it, counted from 1.
    seen: Vec<usize>,
    rows: usize,
    scratch: Vec<u8>,
}

impl Block<'_> {
    fn lines(&mut self, lines: &[u8]) -> Read<()> {
        let mut cursor = Cursor::new(lines);
        loop {
            if cursor.took(b'{') {
                self.object(&mut cursor)?;
            }
            if !cursor.end_of_line()? {
                return Ok(());
            }
        }
    }

    #[inline(always)]
    fn object(&mut self, cursor: &mut Cursor<'_>) -> Read<()> {
        self.rows += 1;
        if !cursor.took(b'}') {
            self.member(cursor)?;
            while cursor.took(b',') {
                self.member(cursor)?;
            }
            cursor.expect(b'}')?;
        }
        for (column, &row) in self.columns.iter_mut().zip(&self.seen) {
            if row < self.rows {
                column.push_null();
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn member(&mut self, cursor: &mut Cursor<'_>) -> Read<()> {
        let key = cursor.key(&mut self.scratch)?;
        let Some(&place) = key.and_then(|key| self.places.get(key)) else {
            return cursor.skip();
        };
        if std::mem::replace(&mut self.seen[place], self.rows) == self.rows {
            return Err(Unusual);
        }
        match self.columns.get_mut(place) {
            Some(column) => column.push(cursor),
            None => cursor.null(),
        }
    }
}

#[cfg(test)]
mod tests;
