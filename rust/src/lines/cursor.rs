//! A line of JSON, read forward by the grammar that Python's `json` has: RFC 8259, with NaN and Infinity.

use super::columns::push_some;
use crate::kernel::marks::{BLOCK, marks};

/// Something that is left to whoever reads more slowly: broken, or out of the ordinary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unusual;

/// What became of a piece of JSON.
pub type Read<T> = Result<T, Unusual>;

/// A place in lines of JSON.
pub struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    /// The brackets that close what is open around a value that is skipped.
    open: Vec<u8>,
}

impl<'a> Cursor<'a> {
    /// At the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, open: Vec::new() }
    }

    /// Goes behind white space, line ends left out; the byte that stands there.
    #[inline(always)]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Goes behind white space and `byte`, if that comes next; whether it does.
    #[inline(always)]
    pub fn took(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    /// Goes behind white space and `byte`.
    #[inline(always)]
    pub fn expect(&mut self, byte: u8) -> Read<()> {
        if self.took(byte) { Ok(()) } else { Err(Unusual) }
    }

    /// Goes behind white space and `word`, if that comes next; whether it does.
    pub fn took_word(&mut self, word: &str) -> bool {
        self.peek();
        let next = self.bytes[self.at..].starts_with(word.as_bytes());
        self.at += if next { word.len() } else { 0 };
        next
    }

    /// Goes behind white space and a null.
    #[inline(always)]
    pub fn null(&mut self) -> Read<()> {
        if self.took_word("null") { Ok(()) } else { Err(Unusual) }
    }

    /// Goes behind a key and its colon: the key, which is put together in `scratch` where it has escapes; None
    /// where it is no text.
    #[inline(always)]
    pub fn key<'s>(&mut self, scratch: &'s mut Vec<u8>) -> Read<Option<&'s [u8]>>
    where
        'a: 's,
    {
        self.expect(b'"')?;
        let start = self.at;
        let escaped = self.skip_string()?;
        let key = &self.bytes[start..self.at - 1];
        self.expect(b':')?;
        if !escaped {
            return Ok(Some(key));
        }
        scratch.clear();
        let read = Cursor::new(&self.bytes[start - 1..]).string(scratch);
        Ok(read.is_ok().then_some(scratch.as_slice()))
    }

    /// Goes behind the rest of a string; whether it has escapes.
    #[inline(always)]
    fn skip_string(&mut self) -> Read<bool> {
        let mut escaped = false;
        while self.plain(|_, _| ())? == b'\\' {
            escaped = true;
            if simple(self.next()?) == 0 {
                self.at -= 1;
                self.character_code()?;
            }
        }
        Ok(escaped)
    }

    /// Goes behind white space and a string, which is put behind what is in `out`.
    #[inline(always)]
    pub fn string(&mut self, out: &mut Vec<u8>) -> Read<()> {
        self.expect(b'"')?;
        while self.plain(|block, count| push_some(out, block, count))? == b'\\' {
            match simple(self.next()?) {
                0 => {
                    self.at -= 1;
                    let character = self.character()?;
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                byte => out.push(byte),
            }
        }
        Ok(())
    }

    /// Goes behind the plain text of a string and the quote or the backslash that ends it, and gives that.
    /// `take` gets the text: blocks, and how many of their bytes are meant.
    #[inline(always)]
    fn plain(&mut self, mut take: impl FnMut(&[u8; BLOCK], usize)) -> Read<u8> {
        let mut rest = &self.bytes[self.at..];
        let mut last = [0; BLOCK]; // a control character ends it
        loop {
            let (block, behind) = match rest.split_first_chunk::<BLOCK>() {
                Some(split) => split,
                None => {
                    last[..rest.len()].copy_from_slice(rest);
                    (&last, &rest[rest.len()..])
                }
            };
            let count = marks(block).trailing_zeros() as usize;
            take(block, count);
            if count < BLOCK {
                self.at = self.bytes.len() - rest.len() + count + 1;
                let mark = block[count];
                return if mark == b'"' || mark == b'\\' { Ok(mark) } else { Err(Unusual) };
            }
            rest = behind;
        }
    }

    #[inline(always)]
    fn next(&mut self) -> Read<u8> {
        let byte = *self.bytes.get(self.at).ok_or(Unusual)?;
        self.at += 1;
        Ok(byte)
    }

    /// Goes behind `u` and its four digits: the number that they are.
    fn character_code(&mut self) -> Read<u32> {
        let digits =
            self.bytes.get(self.at..self.at + 5).ok_or(Unusual)?.strip_prefix(b"u").ok_or(Unusual)?;
        self.at += 5;
        digits
            .iter()
            .try_fold(0, |value, &digit| Ok(value << 4 | char::from(digit).to_digit(16).ok_or(Unusual)?))
    }

    /// Goes behind `u` and its digits, with the other half of a surrogate pair: the character, if it is one.
    fn character(&mut self) -> Read<char> {
        let mut code = self.character_code()?;
        if (0xd800..0xdc00).contains(&code) {
            if self.next()? != b'\\' {
                return Err(Unusual);
            }
            let low = self.character_code()?.wrapping_sub(0xdc00);
            code = if low < 0x400 { 0x10000 + ((code - 0xd800) << 10) + low } else { return Err(Unusual) };
        }
        char::from_u32(code).ok_or(Unusual)
    }

    /// Goes behind a value of any kind, however deep it is.
    pub fn skip(&mut self) -> Read<()> {
        self.open.clear();
        loop {
            self.peek();
            match self.next()? {
                b'"' => self.skip_string().map(drop)?,
                b'{' if !self.took(b'}') => {
                    self.skip_key()?;
                    self.open.push(b'}');
                    continue;
                }
                b'[' if !self.took(b']') => {
                    self.open.push(b']');
                    continue;
                }
                b'{' | b'[' => {}
                _ => {
                    self.at -= 1;
                    let named = ["true", "false", "null", "NaN", "Infinity", "-Infinity"];
                    if !named.into_iter().any(|word| self.took_word(word)) {
                        self.digits()?;
                    }
                }
            }
            loop {
                let Some(&close) = self.open.last() else { return Ok(()) };
                if self.took(b',') {
                    if close == b'}' {
                        self.skip_key()?;
                    }
                    break;
                }
                self.expect(close)?;
                self.open.pop();
            }
        }
    }

    fn skip_key(&mut self) -> Read<()> {
        self.expect(b'"')?;
        self.skip_string()?;
        self.expect(b':')
    }

    /// Goes behind white space and a line end: whether there was anything else than the end of all.
    pub fn end_of_line(&mut self) -> Read<bool> {
        match self.peek() {
            None => Ok(false),
            Some(b'\n') => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => Err(Unusual),
        }
    }
}

/// What a backslash and `byte` stand for, and 0 where that is none of the letters and marks. (A table, because what
/// comes next cannot be guessed, and a branch would be.)
#[inline(always)]
fn simple(byte: u8) -> u8 {
    const MEANT: [u8; 256] = {
        let mut table = [0; 256];
        let (from, to) = (b"\"\\/ntrbf", b"\"\\/\n\t\r\x08\x0c");
        let mut i = 0;
        while i < from.len() {
            table[from[i] as usize] = to[i];
            i += 1;
        }
        table
    };
    MEANT[usize::from(byte)]
}
