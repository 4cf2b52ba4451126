//! Records of csv (RFC 4180), from blocks of bytes that may be cut anywhere.
//!
//! What a record is, Python's `csv` says with `strict=True` of a file opened with `newline=""`: a record
//! ends in LF, CR LF or CR, a cell that begins with a quote ends with one, and quotes inside another cell
//! are characters like any other. Beyond that, every record has the cells that the header has, and blank
//! lines are passed over. Cells that nobody asked for are not copied and not held to UTF-8.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr3};

use crate::error::ScanError;
use crate::strings::all_utf8;

const QUOTE: u8 = b'"';
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Texts one behind the other: row i is `data[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Cells {
    /// UTF-8 once the rows are given out.
    pub data: Vec<u8>,
    /// One more than there are rows.
    pub offsets: Vec<i64>,
}

impl Cells {
    fn new() -> Self {
        Self { data: Vec::new(), offsets: vec![0] }
    }

    fn end(&mut self) {
        self.offsets.push(self.data.len() as i64);
    }

    /// The first row that is not UTF-8, of the first `rows`.
    fn not_utf8(&self, rows: usize) -> Option<usize> {
        let offsets = &self.offsets[..=rows];
        let data = &self.data[..offsets[rows] as usize];
        if all_utf8(data, offsets) {
            return None;
        }
        offsets.windows(2).position(|w| std::str::from_utf8(&data[w[0] as usize..w[1] as usize]).is_err())
    }

    /// Gives out the first `rows` and keeps what is behind them.
    fn take(&mut self, rows: usize) -> Self {
        let end = self.offsets[rows];
        let mut data = Vec::with_capacity(end as usize);
        data.extend_from_slice(&self.data[end as usize..]);
        let offsets = self.offsets[rows..].iter().map(|offset| offset - end).collect();
        let mut taken = std::mem::replace(self, Self { data, offsets });
        taken.data.truncate(end as usize);
        taken.offsets.truncate(rows + 1);
        taken
    }
}

/// A byte of the stream, and its line where that was counted already.
#[derive(Clone, Copy, Default)]
struct Mark {
    at: u64,
    line: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two records.
    Between,
    /// Before the first byte of a cell.
    Cell,
    /// In a cell that did not begin with a quote.
    Plain,
    /// In a cell that did.
    Quoted,
    /// Behind a quote in such a cell: its end, or the first of two that stand for one.
    Closing,
    /// Behind a CR that ends a record, which may be half of a CR LF.
    Return,
}

/// Reads records from blocks.
pub struct Reader {
    delimiter: u8,
    longest: u64,
    fields: Vec<String>,
    header: Option<Vec<String>>,
    /// Of each field, the number of its column, if it was asked for.
    places: Vec<Option<usize>>,
    /// The header until it is whole, then the columns that were asked for.
    columns: Vec<Cells>,
    /// Records that the last block ended.
    spans: Vec<Range<u64>>,
    rows: usize,
    state: State,
    field: usize,
    sink: Option<usize>,
    record: Mark,
    quote: Mark,
    /// The line of the record that the last block left open.
    open_line: u64,
    /// The bytes and the line ends of all blocks before this one, and whether they end in CR.
    base: u64,
    breaks: u64,
    after_return: bool,
    /// The first bytes, until they are known to be a byte order mark or not.
    lead: Option<Vec<u8>>,
}

impl Reader {
    /// A reader of the columns `fields`, of records of at most `longest` bytes.
    pub fn new(delimiter: u8, longest: u64, fields: Vec<String>) -> Self {
        Self {
            delimiter,
            longest,
            fields,
            header: None,
            places: Vec::new(),
            columns: vec![Cells::new()],
            spans: Vec::new(),
            rows: 0,
            state: State::Between,
            field: 0,
            sink: None,
            record: Mark::default(),
            quote: Mark::default(),
            open_line: 0,
            base: 0,
            breaks: 0,
            after_return: false,
            lead: Some(Vec::new()),
        }
    }

    /// The cells of the first record, once it is whole.
    pub fn header(&self) -> Option<&[String]> {
        self.header.as_deref()
    }

    /// The bytes of the stream that each record behind the last block took, its line end included; the
    /// header counts as one.
    pub fn spans(&self) -> &[Range<u64>] {
        &self.spans
    }

    /// Takes the next block; an empty one ends the stream. The number of rows that it ended, without the
    /// header, and their cells in the order of `fields`.
    ///
    /// # Errors
    /// [`ScanError::Value`] names the line and what is wrong there. The reader is of no use afterwards.
    pub fn feed(&mut self, block: &[u8]) -> Result<(usize, Vec<Cells>), ScanError> {
        self.spans.clear();
        if let Some(mut lead) = self.lead.take() {
            lead.extend_from_slice(block);
            if !block.is_empty() && lead.len() < BOM.len() && BOM.starts_with(&lead) {
                self.lead = Some(lead);
                return Ok((0, self.no_rows()));
            }
            let start = if lead.starts_with(BOM) { BOM.len() } else { 0 };
            self.base = start as u64;
            self.block(&lead[start..])?;
        } else {
            self.block(block)?;
        }
        if block.is_empty() {
            self.finish()?;
        }
        let rows = std::mem::take(&mut self.rows);
        if self.header.is_none() {
            return Ok((0, self.no_rows()));
        }
        Ok((rows, self.columns.iter_mut().map(|column| column.take(rows)).collect()))
    }

    /// The columns that were asked for, without a row.
    fn no_rows(&self) -> Vec<Cells> {
        self.fields.iter().map(|_| Cells::new()).collect()
    }

    fn block(&mut self, block: &[u8]) -> Result<(), ScanError> {
        self.read(block)?;
        self.check_utf8(block)?;
        if self.state != State::Between {
            self.check_length(block, self.base + block.len() as u64)?;
            self.record.line = self.line(block, self.record);
            self.quote.line = self.line(block, self.quote);
            self.open_line = self.record.line;
        }
        self.breaks += self.breaks_in(block);
        self.base += block.len() as u64;
        self.after_return = block.last().map_or(self.after_return, |&last| last == b'\r');
        Ok(())
    }

    fn read(&mut self, block: &[u8]) -> Result<(), ScanError> {
        let mut at = 0;
        while at < block.len() {
            let byte = block[at];
            match self.state {
                State::Between if byte == b'\n' || byte == b'\r' => at += 1,
                State::Between => {
                    self.record = self.mark(at);
                    self.field = 0;
                    self.state = State::Cell;
                }
                State::Cell => {
                    self.begin_cell();
                    if byte == QUOTE {
                        self.quote = self.mark(at);
                        self.state = State::Quoted;
                        at += 1;
                    } else {
                        self.state = State::Plain;
                    }
                }
                State::Plain => {
                    let rest = &block[at..];
                    let size = memchr3(self.delimiter, b'\n', b'\r', rest).unwrap_or(rest.len());
                    self.keep(&rest[..size]);
                    at += size;
                    if let Some(&byte) = block.get(at) {
                        at += 1;
                        self.end_cell(byte, block, at)?;
                    }
                }
                State::Quoted => {
                    let rest = &block[at..];
                    let found = memchr(QUOTE, rest);
                    self.keep(&rest[..found.unwrap_or(rest.len())]);
                    at += found.map_or(rest.len(), |size| size + 1);
                    if found.is_some() {
                        self.state = State::Closing;
                    }
                }
                State::Closing if byte == QUOTE => {
                    self.keep(&[QUOTE]);
                    self.state = State::Quoted;
                    at += 1;
                }
                State::Closing if byte == self.delimiter || byte == b'\n' || byte == b'\r' => {
                    at += 1;
                    self.end_cell(byte, block, at)?;
                }
                State::Closing => return Err(self.behind_quote(block, at)),
                State::Return => {
                    at += usize::from(byte == b'\n');
                    self.end_record(block, at)?;
                }
            }
        }
        Ok(())
    }

    /// What the end of the stream ends.
    fn finish(&mut self) -> Result<(), ScanError> {
        match self.state {
            State::Between => (),
            State::Quoted => {
                let line = self.quote.line;
                return Err(error(line, "the quote that opens a cell here is never closed".to_owned()));
            }
            State::Cell => {
                self.begin_cell();
                self.end_cell(b'\n', &[], 0)?;
            }
            State::Plain | State::Closing => self.end_cell(b'\n', &[], 0)?,
            State::Return => self.end_record(&[], 0)?,
        }
        self.check_utf8(&[])
    }

    fn begin_cell(&mut self) {
        self.sink =
            if self.header.is_none() { Some(0) } else { self.places.get(self.field).copied().flatten() };
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some(column) = self.sink {
            self.columns[column].data.extend_from_slice(bytes);
        }
    }

    /// Ends a cell at `separator`, which stands before `at` of the block.
    fn end_cell(&mut self, separator: u8, block: &[u8], at: usize) -> Result<(), ScanError> {
        if let Some(column) = self.sink {
            self.columns[column].end();
        }
        match separator {
            b'\n' => return self.end_record(block, at),
            b'\r' => self.state = State::Return,
            _ => {
                self.field += 1;
                self.state = State::Cell;
            }
        }
        Ok(())
    }

    fn end_record(&mut self, block: &[u8], at: usize) -> Result<(), ScanError> {
        self.state = State::Between;
        self.check_length(block, self.base + at as u64)?;
        self.spans.push(self.record.at..self.base + at as u64);
        let found = self.field + 1;
        match &self.header {
            None => self.end_header(block),
            Some(header) if header.len() != found => {
                let message = format!("expected {} fields as in the header, found {found}", header.len());
                Err(error(self.line(block, self.record), message))
            }
            Some(_) => {
                self.rows += 1;
                Ok(())
            }
        }
    }

    fn end_header(&mut self, block: &[u8]) -> Result<(), ScanError> {
        let line = self.line(block, self.record);
        let columns = self.no_rows();
        let names = std::mem::replace(&mut self.columns, columns).swap_remove(0);
        if names.not_utf8(names.offsets.len() - 1).is_some() {
            return Err(error(line, "the header is not UTF-8".to_owned()));
        }
        let header: Vec<String> = names
            .offsets
            .windows(2)
            .map(|w| String::from_utf8_lossy(&names.data[w[0] as usize..w[1] as usize]).into_owned())
            .collect();
        self.places = vec![None; header.len()];
        for (column, field) in self.fields.iter().enumerate() {
            let Some(place) = header.iter().position(|name| name == field) else {
                return Err(error(line, format!("the header has no field {field:?}")));
            };
            self.places[place] = Some(column);
        }
        self.header = Some(header);
        Ok(())
    }

    fn mark(&self, at: usize) -> Mark {
        Mark { at: self.base + at as u64, line: 0 }
    }

    /// The line of a byte of this block, or of one before it whose line was counted then.
    fn line(&self, block: &[u8], mark: Mark) -> u64 {
        match mark.at.checked_sub(self.base) {
            None => mark.line,
            Some(at) => 1 + self.breaks + self.breaks_in(&block[..at as usize]),
        }
    }

    /// The line ends in the first bytes of a block; a CR LF counts where its CR stands.
    fn breaks_in(&self, start: &[u8]) -> u64 {
        let returns = memchr_iter(b'\r', start).filter(|&at| start.get(at + 1) != Some(&b'\n')).count();
        let halves = usize::from(self.after_return && start.first() == Some(&b'\n'));
        (memchr_iter(b'\n', start).count() + returns - halves) as u64
    }

    fn check_length(&self, block: &[u8], end: u64) -> Result<(), ScanError> {
        if end - self.record.at <= self.longest {
            return Ok(());
        }
        let open = match self.state {
            State::Quoted => {
                format!("; a quote that opens a cell in line {} is not closed", self.line(block, self.quote))
            }
            _ => String::new(),
        };
        let message = format!("a record of over {} bytes{open}", self.longest);
        Err(error(self.line(block, self.record), message))
    }

    fn check_utf8(&self, block: &[u8]) -> Result<(), ScanError> {
        if self.header.is_none() {
            return Ok(());
        }
        for (column, field) in self.columns.iter().zip(&self.fields) {
            if let Some(row) = column.not_utf8(self.rows) {
                let start = self.spans[self.spans.len() - self.rows + row].start;
                let record = Mark { at: start, line: self.open_line };
                return Err(error(self.line(block, record), format!("{field}: not UTF-8")));
            }
        }
        Ok(())
    }

    fn behind_quote(&self, block: &[u8], at: usize) -> ScanError {
        let (opened, line) = (self.line(block, self.quote), self.line(block, self.mark(at)));
        let expected = "expected a separator or the end of the line behind the quote that closes the cell";
        error(line, format!("{expected} opened in line {opened}"))
    }
}

fn error(line: u64, message: String) -> ScanError {
    ScanError::Value(format!("line {line}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Table = (Vec<String>, Vec<Vec<String>>);

    fn read(blocks: &[&[u8]], longest: u64, fields: &[String]) -> Result<(Reader, Vec<Cells>), ScanError> {
        let mut reader = Reader::new(b',', longest, fields.to_vec());
        let mut whole: Vec<Cells> = fields.iter().map(|_| Cells::new()).collect();
        for block in blocks.iter().filter(|block| !block.is_empty()).chain(&[&b""[..]]) {
            let (rows, columns) = reader.feed(block)?;
            for (whole, column) in whole.iter_mut().zip(columns) {
                assert_eq!(column.offsets.len(), rows + 1);
                for w in column.offsets.windows(2) {
                    whole.data.extend_from_slice(&column.data[w[0] as usize..w[1] as usize]);
                    whole.end();
                }
            }
        }
        Ok((reader, whole))
    }

    fn message(data: &[u8], longest: u64, fields: &[&str]) -> String {
        let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
        let singly: Vec<&[u8]> = data.chunks(1).collect();
        let whole = read(&[data], longest, &fields).err().expect("an error").to_string();
        assert_eq!(read(&singly, longest, &fields).err().expect("an error").to_string(), whole);
        whole
    }

    /// What RFC 4180 and Python make of `text`, one character after the other.
    fn naive(text: &str) -> Option<Table> {
        let mut chars = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
        let mut records: Vec<Vec<String>> = Vec::new();
        while chars.peek().is_some() {
            if chars.next_if(|&c| c == '\n' || c == '\r').is_some() {
                continue;
            }
            let mut record = Vec::new();
            loop {
                let mut cell = String::new();
                if chars.next_if_eq(&'"').is_some() {
                    loop {
                        match chars.next()? {
                            '"' if chars.next_if_eq(&'"').is_none() => break,
                            c => cell.push(c),
                        }
                    }
                    if !matches!(chars.peek(), None | Some(',' | '\n' | '\r')) {
                        return None;
                    }
                } else {
                    while let Some(c) = chars.next_if(|c| !matches!(c, ',' | '\n' | '\r')) {
                        cell.push(c);
                    }
                }
                record.push(cell);
                if chars.next_if_eq(&',').is_none() {
                    break;
                }
            }
            records.push(record);
        }
        let mut records = records.into_iter();
        let header = records.next()?;
        let rows: Vec<_> = records.collect();
        rows.iter().all(|row| row.len() == header.len()).then_some((header, rows))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_text_in_any_blocks_reads_as_one_character_after_the_other(
            header in "(a|a,b|b,a,c|\"a\",\"b,\"\"\")(\n|\r\n|\r)",
            body in "[ab\",\n\rä]{0,40}",
            bom: bool,
            cuts in proptest::collection::vec(0_usize..60, 0..8),
        ) {
            let text = format!("{}{header}{body}", if bom { "\u{feff}" } else { "" });
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let bounds = [&[0], &cuts[..], &[bytes.len()]].concat();
            let blocks: Vec<&[u8]> = bounds.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            let wanted = ["a".to_owned()];
            let got = read(&blocks, 1 << 20, &wanted);
            prop_assert_eq!(got.as_ref().err().map(ToString::to_string),
                read(&[bytes], 1 << 20, &wanted).err().map(|error| error.to_string()));
            match (naive(&text), got) {
                (None, got) => prop_assert!(got.is_err()),
                (Some((header, rows)), Ok((reader, columns))) => {
                    prop_assert_eq!(reader.header(), Some(&header[..]));
                    let place = header.iter().position(|name| name == "a").unwrap();
                    let mut want = Cells::new();
                    for row in &rows {
                        want.data.extend_from_slice(row[place].as_bytes());
                        want.end();
                    }
                    prop_assert_eq!(&columns[0], &want);
                }
                (Some(_), Err(error)) => prop_assert!(false, "{} of {:?}", error, text),
            }
        }
    }

    #[test]
    fn every_error_names_its_line() {
        let cases: [(&[u8], &[&str], &str); 9] = [
            (b"a,b\n\n1,\"x\ny", &[], "line 3: the quote that opens a cell here is never closed"),
            (b"a,b\r\n1,\"\rx\"y\r\n", &[], "line 3: expected a separator or the end of the line"),
            (b"a,b\r1,2\r3\r", &[], "line 3: expected 2 fields as in the header, found 1"),
            (b"a,b\n\"\n\",2\n1,2,3\n", &[], "line 4: expected 2 fields as in the header, found 3"),
            (b"a,b\n1,2\n\"x\n\xc3\",\xa4\n", &["a"], "line 3: a: not UTF-8"),
            (b"a,b\n1,2\n\xc3,\xa4\n1,2\n", &["b"], "line 3: b: not UTF-8"),
            (b"\xff,b\n", &[], "line 1: the header is not UTF-8"),
            (b"a,b\n", &["c"], "line 1: the header has no field \"c\""),
            (b"\xef\xbb\xbf\n\"", &[], "line 2: the quote that opens a cell here is never closed"),
        ];
        for (data, fields, want) in cases {
            let found = message(data, 1 << 20, fields);
            assert!(found.starts_with(want), "{found}");
        }
        assert_eq!(message(b"a\n12345678901\n", 11, &[]), "line 2: a record of over 11 bytes");
        let open = "line 2: a record of over 3 bytes; a quote that opens a cell in line 2 is not closed";
        assert!(Reader::new(b',', 3, vec![]).feed(b"a\n\"234").is_err_and(|error| error.to_string() == open));
    }

    #[test]
    fn spans_cover_records_and_their_line_ends() {
        let data = b"\xef\xbb\xbfa\r\n\r\n\"1\n\"\n2\r\r3";
        let mut reader = Reader::new(b',', 100, vec![]);
        let mut spans = Vec::new();
        for byte in data.chunks(1).chain([&b""[..]]) {
            reader.feed(byte).unwrap();
            spans.extend_from_slice(reader.spans());
        }
        assert_eq!(spans, [3..6, 8..13, 13..15, 16..17]);
    }
}
