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
mod known;
mod numbers;
mod paths;

use hashbrown::HashMap;

use self::columns::Column;
pub use self::columns::{Buffer, Kind};
use self::cursor::{Cursor, Read, Unusual};
pub use self::known::Known;
use self::paths::Found;
pub use self::paths::{Made, Path, Step};

/// Room for texts is made in multiples of so many bytes, so that what one block leaves fits the next.
const ROOM: usize = 512 << 10;

/// Line ends among `bytes`, and how many bytes there are to that of the first line and of the last; 0 without any.
pub fn line_ends(bytes: &[u8]) -> (usize, usize, usize) {
    let to = |end: Option<usize>| end.map_or(0, |at| at + 1);
    let ends = memchr::memchr_iter(b'\n', bytes).count();
    (ends, to(memchr::memchr(b'\n', bytes)), to(memchr::memrchr(b'\n', bytes)))
}

/// Reads blocks of lines.
pub struct Reader {
    /// The place of every field in `fields`: those that are columns first.
    places: HashMap<Vec<u8>, usize>,
    fields: Vec<Field>,
    kinds: Vec<Kind>,
    made: Vec<Made>,
    /// Bytes of text that the last block had in each column, and some: the next one has room for them.
    sizes: Vec<usize>,
}

/// What becomes of a field, beside what its place says.
#[derive(Clone, Debug, Default)]
struct Field {
    /// Whether it is to be null.
    null: bool,
    /// The paths that begin in it: the text that each is a part of, and which of all paths it is.
    paths: Vec<(usize, usize)>,
}

/// Rows, and the buffers of each column.
pub type Rows = (usize, Vec<Vec<Buffer>>);

impl Reader {
    /// A reader of the fields `columns` and, as further columns, of texts that are `made` of fields; it holds the
    /// fields `nulls` to be null wherever they stand.
    pub fn new(columns: Vec<(String, Kind)>, nulls: Vec<String>, made: Vec<Made>) -> Self {
        let (names, mut kinds): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let mut places = HashMap::new();
        let mut fields = Vec::new();
        let mut place = |name: String, fields: &mut Vec<Field>| {
            *places.entry(name.into_bytes()).or_insert_with(|| {
                fields.push(Field::default());
                fields.len() - 1
            })
        };
        for name in names {
            place(name, &mut fields);
        }
        for name in nulls {
            let at = place(name, &mut fields);
            fields[at].null = true;
        }
        let paths =
            made.iter().enumerate().flat_map(|(text, made)| made.paths.iter().map(move |path| (text, path)));
        for (number, (text, path)) in paths.enumerate() {
            let at = place(path.head.clone(), &mut fields);
            fields[at].paths.push((text, number));
        }
        kinds.extend(made.iter().map(|_| Kind::Text));
        Self { places, fields, sizes: vec![0; kinds.len()], kinds, made }
    }

    /// The rows of whole lines, which come in parts of whole lines; blank lines are none. None where anything
    /// is out of the ordinary.
    pub fn read(&mut self, parts: &[&[u8]]) -> Option<Rows> {
        let mut columns: Vec<_> =
            self.kinds.iter().zip(&self.sizes).map(|(&kind, &size)| Column::new(kind, size)).collect();
        let texts = columns.split_off(columns.len() - self.made.len());
        let seen = vec![0; self.fields.len()];
        let paths: Vec<_> = self.made.iter().flat_map(|made| &made.paths).collect();
        let found = vec![Found::default(); paths.len()];
        let (places, fields, made) = (&self.places, &*self.fields, &*self.made);
        let mut block =
            Block { places, fields, made, paths, columns, texts, found, seen, rows: 0, scratch: Vec::new() };
        parts.iter().try_for_each(|part| block.lines(part)).ok()?;
        let rows = block.rows;
        let all = block.columns.into_iter().chain(block.texts);
        let finished: Vec<_> = all.map(Column::finish).collect::<Read<_>>().ok()?;
        self.sizes = finished.iter().map(|(_, size)| (size + size / 8).next_multiple_of(ROOM)).collect();
        Some((rows, finished.into_iter().map(|(buffers, _)| buffers).collect()))
    }
}

/// What was read of a block.
struct Block<'a> {
    places: &'a HashMap<Vec<u8>, usize>,
    fields: &'a [Field],
    made: &'a [Made],
    paths: Vec<&'a Path>,
    columns: Vec<Column>,
    texts: Vec<Column>,
    /// Of the row, by path.
    found: Vec<Found>,
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
        let mut first = 0;
        for (made, column) in self.made.iter().zip(&mut self.texts) {
            let found = &mut self.found[first..first + made.paths.len()];
            made.push(found, column);
            found.iter_mut().for_each(Found::clear);
            first += made.paths.len();
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
        let field = &self.fields[place];
        if field.null {
            self.columns.get_mut(place).map(Column::push_null);
            return cursor.null();
        }
        let start = cursor.at;
        if let Some(column) = self.columns.get_mut(place) {
            column.push(cursor)?;
        }
        for &(text, number) in &field.paths {
            cursor.at = start;
            self.found[number].take(&self.paths[number].steps, &self.made[text].joint, cursor)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
