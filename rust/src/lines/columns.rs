//! Columns as Arrow lays them out, while they grow by a row at a time.

use super::cursor::{Cursor, Read, Unusual};
use crate::kernel::marks::BLOCK;
use crate::strings::all_utf8;

/// What a field is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A string, or an integer as the text that Python prints.
    Id,
    /// Lists, as many times nested as this says, of numbers as float32; a null number is NaN.
    Numbers(usize),
}

/// A buffer of an Arrow array.
#[derive(Clone, Debug, PartialEq)]
pub enum Buffer {
    /// A bit a row, set where it has a value; None where every row has one.
    Valid(Option<Vec<u8>>),
    /// Where texts end in the bytes that follow.
    Offsets(Vec<i64>),
    /// Texts.
    Bytes(Vec<u8>),
    /// Where lists end in what follows.
    Ends(Vec<i32>),
    /// Numbers.
    Floats(Vec<f32>),
}

/// The rows of one field so far.
pub enum Column {
    /// Strings.
    Texts {
        /// Whether integers are texts too.
        ids: bool,
        /// Which rows have one.
        valid: Valid,
        /// Where they end.
        offsets: Vec<i64>,
        /// What they say.
        text: Vec<u8>,
    },
    /// Numbers in lists.
    Lists {
        /// The lists, and those in them.
        lists: Vec<List>,
        /// What the innermost hold.
        numbers: Vec<f32>,
    },
}

impl Column {
    /// No rows yet, with room for `size` bytes of text.
    pub fn new(kind: Kind, size: usize) -> Self {
        if let Kind::Numbers(depth) = kind {
            let list = || List { valid: Valid::default(), ends: vec![0] };
            return Self::Lists { lists: (0..depth).map(|_| list()).collect(), numbers: Vec::new() };
        }
        let ids = kind == Kind::Id;
        Self::Texts { ids, valid: Valid::default(), offsets: vec![0], text: Vec::with_capacity(size + BLOCK) }
    }

    /// Adds a row without a value.
    pub fn push_null(&mut self) {
        match self {
            Self::Texts { valid, offsets, text, .. } => {
                valid.push(false);
                offsets.push(text.len() as i64);
            }
            Self::Lists { lists, .. } => lists[0].push_null(),
        }
    }

    /// Adds a row: the value that comes next.
    #[inline(always)]
    pub fn push(&mut self, cursor: &mut Cursor<'_>) -> Read<()> {
        match self {
            Self::Lists { lists, numbers } => return push_list(lists, numbers, cursor),
            Self::Texts { ids, valid, offsets, text } => {
                match cursor.peek() {
                    Some(b'"') => cursor.string(text)?,
                    Some(b'-' | b'0'..=b'9') if *ids => text.extend_from_slice(cursor.integer()?),
                    _ => {
                        cursor.null()?;
                        self.push_null();
                        return Ok(());
                    }
                }
                valid.push(true);
                offsets.push(text.len() as i64);
            }
        }
        Ok(())
    }

    /// Adds a row of a column of texts: that of several parts, or none.
    #[inline(always)]
    pub fn push_parts<'p>(&mut self, is_there: bool, parts: impl Iterator<Item = &'p [u8]>) {
        let Self::Texts { valid, offsets, text, .. } = self else { unreachable!("no column of texts") };
        if is_there {
            parts.for_each(|part| text.extend_from_slice(part));
        }
        valid.push(is_there);
        offsets.push(text.len() as i64);
    }

    /// The buffers of the array and then of what it lists, and the bytes of its texts; unusual where one is not
    /// UTF-8.
    pub fn finish(self) -> Read<(Vec<Buffer>, usize)> {
        match self {
            Self::Texts { valid, offsets, text, .. } => {
                if !all_utf8(&text, &offsets) {
                    return Err(Unusual);
                }
                let size = text.len();
                let bytes = Buffer::Bytes(text);
                Ok((vec![Buffer::Valid(valid.bits()), Buffer::Offsets(offsets), bytes], size))
            }
            Self::Lists { lists, numbers } => {
                let of = |list: List| [Buffer::Valid(list.valid.bits()), Buffer::Ends(list.ends)];
                Ok((lists.into_iter().flat_map(of).chain([Buffer::Floats(numbers)]).collect(), 0))
            }
        }
    }
}

/// Lists at one depth.
pub struct List {
    valid: Valid,
    ends: Vec<i32>,
}

impl List {
    fn push(&mut self, end: usize) -> Read<()> {
        self.valid.push(true);
        self.ends.push(i32::try_from(end).map_err(|_| Unusual)?);
        Ok(())
    }

    fn push_null(&mut self) {
        self.valid.push(false);
        self.ends.extend_from_within(self.ends.len() - 1..);
    }
}

fn push_list(lists: &mut [List], numbers: &mut Vec<f32>, cursor: &mut Cursor<'_>) -> Read<()> {
    let Some((list, inner)) = lists.split_first_mut() else {
        numbers.push(if cursor.took_word("null") { f32::NAN } else { cursor.float()? as f32 });
        return Ok(());
    };
    if cursor.took_word("null") {
        list.push_null();
        return Ok(());
    }
    cursor.expect(b'[')?;
    if !cursor.took(b']') {
        push_list(inner, numbers, cursor)?;
        while cursor.took(b',') {
            push_list(inner, numbers, cursor)?;
        }
        cursor.expect(b']')?;
    }
    list.push(inner.first().map_or(numbers.len(), |inner| inner.valid.len))
}

/// Which rows have a value.
#[derive(Default)]
pub struct Valid {
    bits: Vec<u8>,
    len: usize,
    nulls: usize,
}

impl Valid {
    #[inline(always)]
    fn push(&mut self, valid: bool) {
        if self.len.is_multiple_of(8) {
            self.bits.push(0);
        }
        self.bits[self.len / 8] |= u8::from(valid) << (self.len % 8);
        self.len += 1;
        self.nulls += usize::from(!valid);
    }

    fn bits(self) -> Option<Vec<u8>> {
        (self.nulls > 0).then_some(self.bits)
    }
}

/// Adds the first `count` bytes of `block`, which costs what adding all of it does.
#[inline(always)]
pub fn push_some(out: &mut Vec<u8>, block: &[u8; BLOCK], count: usize) {
    let end = out.len() + count;
    out.extend_from_slice(block);
    out.truncate(end);
}
