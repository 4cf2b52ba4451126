//! Texts made of fields: what stands inside them along a path, several of these as one, or a template of them.
//!
//! They are `corpus/expressions.py` in words of this reader: what is no text there, where Python says what is wrong
//! with it, is unusual here.

use super::columns::Column;
use super::cursor::{Cursor, Read, Unusual};

/// From a value to values inside it.
#[derive(Clone, Debug)]
pub enum Step {
    /// The member of an object that has this name.
    Field(String),
    /// All items of a list.
    Items,
    /// The item at a place, from 0.
    Item(usize),
    /// The items in which a field has a value, as text.
    Those {
        /// Its name.
        field: String,
        /// What it says.
        value: String,
    },
}

/// Where texts stand: in the field `head`, and from there on.
#[derive(Clone, Debug)]
pub struct Path {
    /// The field of a row.
    pub head: String,
    /// What leads from its value to texts.
    pub steps: Vec<Step>,
}

/// A text made of what is found along paths.
#[derive(Clone, Debug)]
pub struct Made {
    /// Along which.
    pub paths: Vec<Path>,
    /// What stands before, between and behind what each path finds; None where all that is found is joined.
    pub template: Option<Vec<String>>,
    /// What stands between several texts.
    pub joint: String,
}

/// What one path found in a row.
#[derive(Clone, Debug, Default)]
pub struct Found {
    text: Vec<u8>,
    count: usize,
}

impl Found {
    /// Forgets the row.
    pub fn clear(&mut self) {
        self.text.clear();
        self.count = 0;
    }

    /// Goes behind white space and a value, of which it takes the texts that `steps` lead to.
    pub fn take(&mut self, steps: &[Step], joint: &str, cursor: &mut Cursor<'_>) -> Read<()> {
        let Some((step, rest)) = steps.split_first() else { return self.take_text(joint, cursor) };
        if cursor.took_word("null") {
            return Ok(());
        }
        match step {
            Step::Field(name) => {
                let mut there = false;
                members(cursor, |key, cursor| {
                    if key != Some(name.as_bytes()) {
                        return cursor.skip();
                    }
                    if std::mem::replace(&mut there, true) {
                        return Err(Unusual);
                    }
                    self.take(rest, joint, cursor)
                })
            }
            Step::Items => items(cursor, |_, cursor| self.take(rest, joint, cursor)),
            &Step::Item(place) => {
                items(
                    cursor,
                    |at, cursor| {
                        if at == place { self.take(rest, joint, cursor) } else { cursor.skip() }
                    },
                )
            }
            Step::Those { field, value } => items(cursor, |_, cursor| {
                let start = cursor.at;
                if says(cursor, field, value)? {
                    cursor.at = start;
                    self.take(rest, joint, cursor)?;
                }
                Ok(())
            }),
        }
    }

    #[inline(always)]
    fn take_text(&mut self, joint: &str, cursor: &mut Cursor<'_>) -> Read<()> {
        let next = cursor.peek();
        if !matches!(next, Some(b'"' | b'-' | b'0'..=b'9')) {
            return cursor.null();
        }
        if self.count > 0 {
            self.text.extend_from_slice(joint.as_bytes());
        }
        self.count += 1;
        if next == Some(b'"') {
            return cursor.string(&mut self.text);
        }
        self.text.extend_from_slice(cursor.integer()?);
        Ok(())
    }
}

impl Made {
    /// Adds a row to a column: what its paths found there, in their order.
    pub fn push(&self, found: &[Found], column: &mut Column) {
        let joint = self.joint.as_bytes();
        let Some(template) = &self.template else {
            let mut first = true;
            let parts = found.iter().filter(|path| path.count > 0).flat_map(|path| {
                let between: &[u8] = if std::mem::take(&mut first) { b"" } else { joint };
                [between, &path.text]
            });
            return column.push_parts(found.iter().any(|path| path.count > 0), parts);
        };
        let behind = found.iter().zip(&template[1..]).flat_map(|(path, text)| [&path.text, text.as_bytes()]);
        let parts = std::iter::once(template[0].as_bytes()).chain(behind);
        column.push_parts(found.iter().all(|path| path.count > 0), parts);
    }
}

/// Goes behind an object; `member` gets each key, which is None where it is no text, and goes behind its value.
#[inline(always)]
fn members<'a>(
    cursor: &mut Cursor<'a>,
    mut member: impl FnMut(Option<&[u8]>, &mut Cursor<'a>) -> Read<()>,
) -> Read<()> {
    cursor.expect(b'{')?;
    if cursor.took(b'}') {
        return Ok(());
    }
    let mut scratch = Vec::new();
    loop {
        let key = cursor.key(&mut scratch)?;
        member(key, cursor)?;
        if !cursor.took(b',') {
            return cursor.expect(b'}');
        }
    }
}

/// Goes behind a list; `item` gets the place of each item and goes behind it.
#[inline(always)]
fn items<'a>(cursor: &mut Cursor<'a>, mut item: impl FnMut(usize, &mut Cursor<'a>) -> Read<()>) -> Read<()> {
    cursor.expect(b'[')?;
    if cursor.took(b']') {
        return Ok(());
    }
    let mut place = 0;
    loop {
        item(place, cursor)?;
        place += 1;
        if !cursor.took(b',') {
            return cursor.expect(b']');
        }
    }
}

/// Goes behind an object or a null: whether the text or the integer in its `field` is `value`.
fn says(cursor: &mut Cursor<'_>, field: &str, value: &str) -> Read<bool> {
    if value == "None" {
        return Err(Unusual); // as Python writes what is not there
    }
    if cursor.took_word("null") {
        return Ok(false);
    }
    let (mut there, mut says) = (false, false);
    let mut text = Vec::new();
    members(cursor, |key, cursor| {
        if key != Some(field.as_bytes()) {
            return cursor.skip();
        }
        if std::mem::replace(&mut there, true) {
            return Err(Unusual);
        }
        match cursor.peek() {
            Some(b'"') => {
                cursor.string(&mut text)?;
                says = text == value.as_bytes();
            }
            Some(b'-' | b'0'..=b'9') => says = cursor.integer()? == value.as_bytes(),
            _ => cursor.null()?,
        }
        Ok(())
    })?;
    Ok(says)
}
