//! The fields of objects, so that lines which say nothing new of them need not be looked at by anybody else.

use hashbrown::HashMap;

use super::cursor::{Cursor, Read, Unusual};

/// The names of fields that were met, and whether each had a value that is not null.
#[derive(Default)]
pub struct Known {
    valued: HashMap<Vec<u8>, bool>,
}

/// What comes before a line that says something new, or is out of the ordinary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lead {
    /// Its bytes, which are those of whole lines.
    pub bytes: usize,
    /// Its lines; the last one of all may have no line end.
    pub lines: usize,
    /// Its objects.
    pub objects: usize,
    /// The bytes up to the end of the line behind it: as many as `bytes` where there is none.
    pub behind: usize,
}

impl Known {
    /// Notes that a field was met, and whether with a value.
    pub fn add(&mut self, name: String, valued: bool) {
        *self.valued.entry(name.into_bytes()).or_default() |= valued;
    }

    /// The first of whole `lines`, as far as each is blank or an object in order whose fields are known, with a
    /// value where they have one. Of text that is not UTF-8 nothing is in order.
    pub fn lead(&self, lines: &[u8]) -> Lead {
        let mut lead = Lead::default();
        let mut scratch = Vec::new();
        while lead.bytes < lines.len() {
            let rest = &lines[lead.bytes..];
            let end = memchr::memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            lead.behind = lead.bytes + end.map_or(rest.len(), |at| at + 1);
            let Ok(objects) = self.objects(line, &mut scratch) else { break };
            lead.objects += objects;
            lead.lines += 1;
            lead.bytes = lead.behind;
        }
        lead
    }

    /// How many objects a line has: one or none.
    fn objects(&self, line: &[u8], scratch: &mut Vec<u8>) -> Read<usize> {
        std::str::from_utf8(line).map_err(|_| Unusual)?;
        let mut cursor = Cursor::new(line);
        let object = cursor.took(b'{');
        if object && !cursor.took(b'}') {
            self.member(&mut cursor, scratch)?;
            while cursor.took(b',') {
                self.member(&mut cursor, scratch)?;
            }
            cursor.expect(b'}')?;
        }
        if cursor.end_of_line()? { Err(Unusual) } else { Ok(usize::from(object)) }
    }

    fn member(&self, cursor: &mut Cursor<'_>, scratch: &mut Vec<u8>) -> Read<()> {
        let valued = cursor.key(scratch)?.and_then(|key| self.valued.get(key)).ok_or(Unusual)?;
        if *valued { cursor.skip() } else { cursor.null() }
    }
}
