//! The Python module `lvmfast._core`: arrays in, arrays out. The only file that knows PyO3.
//!
//! Every call that can take long runs on the crate's thread pool with the GIL released, while the
//! calling thread looks for Ctrl-C twenty times a second.

use std::sync::mpsc;
use std::time::Duration;

use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3,
};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::ScanError;
use crate::parallel::{self, Watch};
use crate::strings::Texts;
use crate::text::{self, Normalization};
use crate::{csv, digest, gzip, ids, kernel, lines, near, overlap, sketch};

import_exception!(lvmfast.errors, CoreError);
import_exception!(lvmfast.errors, DataError);

impl From<ScanError> for PyErr {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Shape(_) | ScanError::Value(_) => PyValueError::new_err(error.to_string()),
            ScanError::Io(io) => io.into(),
            ScanError::Threads(_) => DataError::new_err(error.to_string()),
            ScanError::Cancelled | ScanError::TooMany => PyRuntimeError::new_err(error.to_string()),
        }
    }
}

/// A panic of `work` as an error of Python's: it is no verdict, and ends no process.
fn fault(panic: &(dyn std::any::Any + Send)) -> PyErr {
    let said =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    CoreError::new_err(format!("the core failed: {}", said.unwrap_or("it does not say why")))
}

/// Time between two looks for Ctrl-C.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Runs `work` on the pool without the GIL; a signal handler that raises (Ctrl-C) cancels it.
fn interruptible<T: Send>(
    py: Python<'_>,
    threads: usize,
    work: impl FnOnce(&Watch) -> Result<T, ScanError> + Send,
) -> PyResult<T> {
    reporting(py, threads, None, work)
}

/// As [`interruptible`], while `progress` is called with the units that are done.
fn reporting<T: Send>(
    py: Python<'_>,
    threads: usize,
    progress: Option<&Py<PyAny>>,
    work: impl FnOnce(&Watch) -> Result<T, ScanError> + Send,
) -> PyResult<T> {
    let pool = parallel::pool(threads)?;
    let watch = Watch::new();
    let tell =
        |py: Python<'_>| progress.map_or(Ok(()), |progress| progress.call1(py, (watch.done(),)).map(drop));
    let mut raised = None;
    let result = py.detach(|| {
        std::thread::scope(|scope| {
            let (finished, wait) = mpsc::channel::<()>();
            let watch = &watch;
            let worker = std::thread::Builder::new()
                .spawn_scoped(scope, move || {
                    let _finished = finished; // dropped on return and on panic: either way the wait ends
                    pool.install(|| work(watch))
                })
                .map_err(parallel::no_thread)?;
            while wait.recv_timeout(BETWEEN_LOOKS) == Err(mpsc::RecvTimeoutError::Timeout) {
                let look = Python::attach(|py| py.check_signals().and_then(|()| tell(py)));
                if let Err(signal) = look {
                    watch.cancel();
                    raised = Some(signal);
                    break;
                }
            }
            Ok::<_, ScanError>(worker.join())
        })
    })?;
    match (raised, result) {
        (Some(signal), _) => Err(signal),
        (None, Ok(result)) => {
            let result = result?;
            tell(py)?;
            Ok(result)
        }
        (None, Err(panic)) => Err(fault(panic.as_ref())),
    }
}

fn slice<'a, T: numpy::Element>(name: &str, array: &'a impl ContiguousArray<T>) -> PyResult<&'a [T]> {
    array
        .contiguous()
        .ok_or_else(|| PyValueError::new_err(format!("{name}: expected an aligned C-contiguous array")))
}

/// Arrays that can lend their values as one slice.
trait ContiguousArray<T> {
    fn contiguous(&self) -> Option<&[T]>;
}

impl<T: numpy::Element, D: numpy::ndarray::Dimension> ContiguousArray<T>
    for numpy::PyReadonlyArray<'_, T, D>
{
    fn contiguous(&self) -> Option<&[T]> {
        self.as_slice().ok()
    }
}

fn pairs_array<'py>(py: Python<'py>, pairs: &[[u64; 2]]) -> PyResult<Bound<'py, PyArray2<u64>>> {
    PyArray1::from_slice(py, pairs.as_flattened()).reshape([pairs.len(), 2])
}

#[pyfunction]
fn unicode_version() -> String {
    text::unicode_version()
}

#[pyfunction]
fn normalize_text(text: &str, mode: &str) -> PyResult<String> {
    let mut out = String::new();
    text::normalize(text, mode.parse()?, &mut out);
    Ok(out)
}

#[pyfunction]
fn hash_texts_128<'py>(
    py: Python<'py>,
    data: PyReadonlyArray1<'py, u8>,
    offsets: PyReadonlyArray1<'py, i64>,
    mode: &str,
    threads: usize,
) -> PyResult<Bound<'py, PyArray2<u64>>> {
    let mode: Normalization = mode.parse()?;
    let texts = Texts::new(slice("data", &data)?, slice("offsets", &offsets)?)?;
    let hashes = interruptible(py, threads, |watch| text::hash128(&texts, mode, watch))?;
    pairs_array(py, &hashes)
}

#[pyfunction]
fn hash_texts_64<'py>(
    py: Python<'py>,
    data: PyReadonlyArray1<'py, u8>,
    offsets: PyReadonlyArray1<'py, i64>,
    mode: &str,
    threads: usize,
) -> PyResult<Bound<'py, PyArray1<u64>>> {
    let mode: Normalization = mode.parse()?;
    let texts = Texts::new(slice("data", &data)?, slice("offsets", &offsets)?)?;
    Ok(interruptible(py, threads, |watch| text::hash64(&texts, mode, watch))?.into_pyarray(py))
}

#[pyfunction]
fn text_keys<'py>(
    py: Python<'py>,
    data: PyReadonlyArray1<'py, u8>,
    offsets: PyReadonlyArray1<'py, i64>,
    mode: &str,
    min_chars: usize,
    threads: usize,
) -> PyResult<Bound<'py, PyArray2<u64>>> {
    let mode: Normalization = mode.parse()?;
    let texts = Texts::new(slice("data", &data)?, slice("offsets", &offsets)?)?;
    let keys = interruptible(py, threads, |watch| text::text_keys(&texts, mode, min_chars, watch))?;
    pairs_array(py, &keys)
}

#[pyfunction]
fn string_keys<'py>(
    py: Python<'py>,
    data: PyReadonlyArray1<'py, u8>,
    offsets: PyReadonlyArray1<'py, i64>,
    threads: usize,
) -> PyResult<Bound<'py, PyArray2<u64>>> {
    let texts = Texts::new(slice("data", &data)?, slice("offsets", &offsets)?)?;
    let keys = interruptible(py, threads, |watch| ids::string_keys(&texts, watch))?;
    pairs_array(py, &keys)
}

#[pyfunction]
fn misspelt_number(
    py: Python<'_>,
    data: PyReadonlyArray1<'_, u8>,
    offsets: PyReadonlyArray1<'_, i64>,
) -> PyResult<Option<usize>> {
    let texts = Texts::new(slice("data", &data)?, slice("offsets", &offsets)?)?;
    Ok(py.detach(|| ids::misspelt_number(&texts)))
}

/// The data and offsets of texts.
type TextArrays<'py> = (Bound<'py, PyArray1<u8>>, Bound<'py, PyArray1<i64>>);

#[pyclass(module = "lvmfast._core")]
struct CsvReader {
    reader: csv::Reader,
}

#[pymethods]
impl CsvReader {
    #[new]
    fn new(delimiter: char, longest: u64, fields: Vec<String>) -> PyResult<Self> {
        let delimiter = u8::try_from(delimiter)
            .ok()
            .filter(|byte| byte.is_ascii() && !b"\"\r\n".contains(byte))
            .ok_or_else(|| PyValueError::new_err(format!("delimiter: got {delimiter:?}")))?;
        Ok(Self { reader: csv::Reader::new(delimiter, longest, fields) })
    }

    fn feed<'py>(&mut self, py: Python<'py>, block: &[u8]) -> PyResult<(usize, Vec<TextArrays<'py>>)> {
        let (rows, columns) = py.detach(|| self.reader.feed(block))?;
        let arrays = columns.into_iter().map(|c| (c.data.into_pyarray(py), c.offsets.into_pyarray(py)));
        Ok((rows, arrays.collect()))
    }

    fn spans<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<u64>>> {
        let spans: Vec<_> = self.reader.spans().iter().map(|span| [span.start, span.end]).collect();
        pairs_array(py, &spans)
    }

    #[getter]
    fn header(&self) -> Option<Vec<String>> {
        self.reader.header().map(<[String]>::to_vec)
    }
}

#[pyfunction]
fn line_ends(py: Python<'_>, block: PyReadonlyArray1<'_, u8>) -> PyResult<(usize, usize, usize)> {
    let block = slice("block", &block)?;
    Ok(py.detach(|| lines::line_ends(block)))
}

#[pyclass(module = "lvmfast._core")]
#[derive(Default)]
struct KnownFields {
    known: lines::Known,
}

#[pymethods]
impl KnownFields {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn add(&mut self, name: String, valued: bool) {
        self.known.add(name, valued);
    }

    fn lead(
        &self,
        py: Python<'_>,
        lines: PyReadonlyArray1<'_, u8>,
    ) -> PyResult<(usize, usize, usize, usize)> {
        let lines = slice("lines", &lines)?;
        let lead = py.detach(|| self.known.lead(lines));
        Ok((lead.bytes, lead.lines, lead.objects, lead.behind))
    }
}

#[pyclass(module = "lvmfast._core")]
#[derive(Default)]
struct GzipDecoder {
    member: gzip::Member,
    out: Vec<u8>,
}

#[pymethods]
impl GzipDecoder {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    #[getter]
    fn eof(&self) -> bool {
        self.member.ended()
    }

    #[getter]
    fn needs_input(&self) -> bool {
        self.member.needs_input()
    }

    #[getter]
    fn unused_data(&self) -> &[u8] {
        self.member.rest()
    }

    fn decompress<'py>(
        &mut self,
        py: Python<'py>,
        data: &[u8],
        max_length: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let Self { member, out } = self;
        out.clear();
        py.detach(|| member.decompress(data, max_length, out))?;
        Ok(PyBytes::new(py, out))
    }
}

/// The buffers of an Arrow array and of what it lists.
type ArrayBuffers<'py> = Vec<Option<Bound<'py, PyAny>>>;

/// Paths, each of a field and steps of (kind, name, value); a template; what stands between texts.
type MadeText = (Vec<(String, Vec<(String, String, String)>)>, Option<Vec<String>>, String);

fn made_text((paths, template, joint): MadeText) -> PyResult<lines::Made> {
    let step = |(kind, name, value): (String, String, String)| match kind.as_str() {
        "field" => Ok(lines::Step::Field(name)),
        "items" => Ok(lines::Step::Items),
        "item" => Ok(lines::Step::Item(name.parse()?)),
        "those" => Ok(lines::Step::Those { field: name, value }),
        other => Err(PyValueError::new_err(format!("step: got {other:?}"))),
    };
    let paths = paths
        .into_iter()
        .map(|(head, steps)| {
            let steps = steps.into_iter().map(step).collect::<PyResult<_>>()?;
            Ok(lines::Path { head, steps })
        })
        .collect::<PyResult<Vec<_>>>()?;
    if template.as_ref().is_some_and(|pieces| pieces.len() != paths.len() + 1) {
        return Err(PyValueError::new_err("template: expected a piece before, between and behind paths"));
    }
    Ok(lines::Made { paths, template, joint })
}

#[pyclass(module = "lvmfast._core")]
struct LineReader {
    reader: lines::Reader,
}

#[pymethods]
impl LineReader {
    #[new]
    fn new(columns: Vec<(String, String)>, nulls: Vec<String>, made: Vec<MadeText>) -> PyResult<Self> {
        let kind = |kind: &str| match kind {
            "text" => Ok(lines::Kind::Text),
            "id" => Ok(lines::Kind::Id),
            "vector" => Ok(lines::Kind::Numbers(1)),
            "vectors" => Ok(lines::Kind::Numbers(2)),
            other => Err(PyValueError::new_err(format!("kind: got {other:?}"))),
        };
        let columns =
            columns.into_iter().map(|(name, of)| Ok((name, kind(&of)?))).collect::<PyResult<_>>()?;
        let made = made.into_iter().map(made_text).collect::<PyResult<_>>()?;
        Ok(Self { reader: lines::Reader::new(columns, nulls, made) })
    }

    fn read<'py>(
        &mut self,
        py: Python<'py>,
        parts: Vec<PyReadonlyArray1<'py, u8>>,
    ) -> PyResult<Option<(usize, Vec<ArrayBuffers<'py>>)>> {
        let parts = parts.iter().map(|part| slice("parts", part)).collect::<PyResult<Vec<_>>>()?;
        let reader = &mut self.reader;
        let array = |buffer| match buffer {
            lines::Buffer::Valid(bits) => bits.map(|bits| bits.into_pyarray(py).into_any()),
            lines::Buffer::Offsets(offsets) => Some(offsets.into_pyarray(py).into_any()),
            lines::Buffer::Bytes(bytes) => Some(bytes.into_pyarray(py).into_any()),
            lines::Buffer::Ends(ends) => Some(ends.into_pyarray(py).into_any()),
            lines::Buffer::Floats(numbers) => Some(numbers.into_pyarray(py).into_any()),
        };
        Ok(py.detach(|| reader.read(&parts)).map(|(rows, columns)| {
            let arrays = columns.into_iter().map(|buffers| buffers.into_iter().map(array).collect());
            (rows, arrays.collect())
        }))
    }
}

type RowPairs<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>);

#[pyfunction]
fn intersect<'py>(
    py: Python<'py>,
    train: PyReadonlyArray2<'py, u64>,
    eval: PyReadonlyArray2<'py, u64>,
    threads: usize,
) -> PyResult<RowPairs<'py>> {
    let width = train.as_array().ncols();
    if eval.as_array().ncols() != width {
        return Err(PyValueError::new_err("keys: the two sides differ in width"));
    }
    let (train, eval) = (slice("train", &train)?, slice("eval", &eval)?);
    let (left, right) = interruptible(py, threads, |watch| ids::intersect(train, eval, width, watch))?;
    Ok((left.into_pyarray(py), right.into_pyarray(py)))
}

#[pyclass(module = "lvmfast._core")]
struct KeyTable {
    table: ids::KeyTable,
    threads: usize,
}

impl KeyTable {
    fn checked<'a>(&self, keys: &'a PyReadonlyArray2<'_, u64>) -> PyResult<&'a [u64]> {
        let (width, got) = (self.table.width(), keys.as_array().ncols());
        if got != width {
            return Err(PyValueError::new_err(format!("keys: expected (n, {width}) words, got (n, {got})")));
        }
        slice("keys", keys)
    }
}

#[pymethods]
impl KeyTable {
    #[new]
    fn new(width: usize, threads: usize) -> PyResult<Self> {
        Ok(Self { table: ids::KeyTable::new(width)?, threads })
    }

    fn insert<'py>(
        &mut self,
        py: Python<'py>,
        keys: PyReadonlyArray2<'py, u64>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let keys = self.checked(&keys)?;
        let table = &mut self.table;
        Ok(interruptible(py, self.threads, |watch| table.insert(keys, watch))?.into_pyarray(py))
    }

    fn find<'py>(
        &self,
        py: Python<'py>,
        keys: PyReadonlyArray2<'py, u64>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let keys = self.checked(&keys)?;
        Ok(interruptible(py, self.threads, |watch| self.table.find(keys, watch))?.into_pyarray(py))
    }

    fn __len__(&self) -> usize {
        self.table.len()
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.table.nbytes()
    }
}

#[pyclass(module = "lvmfast._core")]
struct TextIndex {
    index: text::TextIndex,
    threads: usize,
}

#[pymethods]
impl TextIndex {
    #[new]
    fn new(mode: &str, min_chars: usize, threads: usize) -> PyResult<Self> {
        Ok(Self { index: text::TextIndex::new(mode.parse()?, min_chars), threads })
    }

    fn add<'py>(
        &mut self,
        py: Python<'py>,
        data: PyReadonlyArray1<'py, u8>,
        offsets: PyReadonlyArray1<'py, i64>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let texts = Texts::new(slice("data", &data)?, slice("offsets", &offsets)?)?;
        let index = &mut self.index;
        Ok(interruptible(py, self.threads, |watch| index.add(&texts, watch))?.into_pyarray(py))
    }

    fn find<'py>(
        &self,
        py: Python<'py>,
        data: PyReadonlyArray1<'py, u8>,
        offsets: PyReadonlyArray1<'py, i64>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let texts = Texts::new(slice("data", &data)?, slice("offsets", &offsets)?)?;
        Ok(interruptible(py, self.threads, |watch| self.index.find(&texts, watch))?.into_pyarray(py))
    }

    fn __len__(&self) -> usize {
        self.index.len()
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.index.nbytes()
    }
}

/// Row, group, cosine, usability and key arrays of one scanned block.
type HitArrays<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<u8>>,
    Bound<'py, PyArray2<u64>>,
);

/// Lower group, higher group and cosine of every pair, and the number of cells that the groups were in.
type PairArrays<'py> =
    (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f64>>, usize);

/// The highest cosine of every group and the row that has it.
type NearestArrays<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<i64>>);

#[pyclass(module = "lvmfast._core")]
struct NearIndex {
    index: near::NearIndex,
    threads: usize,
}

impl NearIndex {
    fn checked<'a>(&self, rows: &'a PyReadonlyArray2<'_, f32>) -> PyResult<&'a [f32]> {
        let (dim, got) = (self.index.dim(), rows.as_array().ncols());
        if got != dim {
            return Err(PyValueError::new_err(format!("vectors: expected (n, {dim}), got (n, {got})")));
        }
        slice("vectors", rows)
    }
}

#[pymethods]
impl NearIndex {
    #[new]
    fn new(dim: usize, threshold: f64, threads: usize) -> PyResult<Self> {
        Ok(Self { index: near::NearIndex::new(dim, threshold)?, threads })
    }

    fn add<'py>(
        &mut self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray1<u8>>> {
        let rows = self.checked(&rows)?;
        let index = &mut self.index;
        Ok(interruptible(py, self.threads, |watch| index.add(rows, watch))?.into_pyarray(py))
    }

    #[pyo3(signature = (rows, every_key = true))]
    fn scan<'py>(
        &mut self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
        every_key: bool,
    ) -> PyResult<HitArrays<'py>> {
        let rows = self.checked(&rows)?;
        let index = &mut self.index;
        let hits = interruptible(py, self.threads, |watch| index.scan(rows, every_key, watch))?;
        Ok((
            hits.row.into_pyarray(py),
            hits.group.into_pyarray(py),
            hits.cosine.into_pyarray(py),
            hits.usability.into_pyarray(py),
            pairs_array(py, &hits.keys)?,
        ))
    }

    fn pairs<'py>(
        &mut self,
        py: Python<'py>,
        most: usize,
        progress: Py<PyAny>,
    ) -> PyResult<Option<PairArrays<'py>>> {
        let index = &mut self.index;
        let found = reporting(py, self.threads, Some(&progress), |watch| index.pairs(most, watch))?;
        Ok(found.map(|found| {
            let (left, right) = (found.left.into_pyarray(py), found.right.into_pyarray(py));
            (left, right, found.cosine.into_pyarray(py), found.cells)
        }))
    }

    fn score<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
        row: PyReadonlyArray1<'py, i64>,
        group: PyReadonlyArray1<'py, i64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let rows = self.checked(&rows)?;
        let (row, group) = (slice("row", &row)?, slice("group", &group)?);
        let cosines = interruptible(py, self.threads, |watch| self.index.score(rows, row, group, watch))?;
        Ok(cosines.into_pyarray(py))
    }

    fn vectors<'py>(
        &self,
        py: Python<'py>,
        start: usize,
        stop: usize,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let values = self.index.vectors(start..stop)?;
        PyArray1::from_slice(py, values).reshape([stop - start, self.index.dim()])
    }

    fn seek<'py>(
        &mut self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
        first_row: i64,
    ) -> PyResult<Bound<'py, PyArray1<u8>>> {
        let rows = self.checked(&rows)?;
        let index = &mut self.index;
        Ok(interruptible(py, self.threads, |watch| index.seek(rows, first_row, watch))?.into_pyarray(py))
    }

    fn nearest<'py>(&self, py: Python<'py>) -> NearestArrays<'py> {
        let nearest = self.index.nearest();
        (nearest.cosine.into_pyarray(py), nearest.row.into_pyarray(py))
    }

    #[getter]
    fn group_of_row<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        PyArray1::from_slice(py, self.index.group_of_row())
    }

    #[getter]
    fn group_count(&self) -> usize {
        self.index.group_count()
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.index.nbytes()
    }
}

/// Left row, right row and cosine of every pair, the first equal row and the usability of every row.
type WithinArrays<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<u8>>,
);

/// The usability and the key of each row.
type RowArrays<'py> = (Bound<'py, PyArray1<u8>>, Bound<'py, PyArray2<u64>>);

#[pyfunction]
fn describe_rows<'py>(
    py: Python<'py>,
    rows: PyReadonlyArray2<'py, f32>,
    threads: usize,
) -> PyResult<RowArrays<'py>> {
    let dim = rows.as_array().ncols();
    let rows = slice("vectors", &rows)?;
    let (usability, keys) = interruptible(py, threads, |watch| near::describe_rows(rows, dim, watch))?;
    Ok((usability.into_pyarray(py), pairs_array(py, &keys)?))
}

#[pyfunction]
fn scan_within<'py>(
    py: Python<'py>,
    rows: PyReadonlyArray2<'py, f32>,
    threshold: f64,
    threads: usize,
) -> PyResult<WithinArrays<'py>> {
    let dim = rows.as_array().ncols();
    let rows = slice("vectors", &rows)?;
    let found = interruptible(py, threads, |watch| near::scan_within(rows, dim, threshold, watch))?;
    Ok((
        found.pairs.left.into_pyarray(py),
        found.pairs.right.into_pyarray(py),
        found.pairs.cosine.into_pyarray(py),
        found.first_row.into_pyarray(py),
        found.usability.into_pyarray(py),
    ))
}

/// Cosine `(n, length)`, target usability `(n,)` and position usability `(n, length)` arrays.
type WindowArrays<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<u8>>, Bound<'py, PyArray2<u8>>);
#[pyfunction]
fn window_cosines<'py>(
    py: Python<'py>,
    targets: PyReadonlyArray2<'py, f32>,
    windows: PyReadonlyArray3<'py, f32>,
    threads: usize,
) -> PyResult<WindowArrays<'py>> {
    let (rows, length, dim) = windows.as_array().dim();
    if targets.as_array().dim() != (rows, dim) {
        return Err(PyValueError::new_err(format!(
            "windows: targets are {:?}, windows {:?}",
            targets.as_array().dim(),
            (rows, length, dim)
        )));
    }
    let (targets, windows) = (slice("targets", &targets)?, slice("windows", &windows)?);
    let found =
        interruptible(py, threads, |watch| near::window_cosines(targets, windows, dim, length, watch))?;
    window_arrays(py, found, rows, length)
}

#[pyfunction]
fn numbered_window_cosines<'py>(
    py: Python<'py>,
    vectors: PyReadonlyArray2<'py, f32>,
    targets: PyReadonlyArray1<'py, i64>,
    windows: PyReadonlyArray2<'py, i64>,
    threads: usize,
) -> PyResult<WindowArrays<'py>> {
    let dim = vectors.as_array().ncols();
    let (rows, length) = windows.as_array().dim();
    let vectors = slice("vectors", &vectors)?;
    let (targets, windows) = (slice("targets", &targets)?, slice("windows", &windows)?);
    let found = interruptible(py, threads, |watch| {
        near::numbered_window_cosines(vectors, targets, windows, dim, length, watch)
    })?;
    window_arrays(py, found, rows, length)
}

fn window_arrays(
    py: Python<'_>,
    found: near::WindowCosines,
    rows: usize,
    length: usize,
) -> PyResult<WindowArrays<'_>> {
    Ok((
        found.cosine.into_pyarray(py).reshape([rows, length])?,
        found.targets.into_pyarray(py),
        found.windows.into_pyarray(py).reshape([rows, length])?,
    ))
}

/// Codes, rests, usability and key arrays of some rows.
type SketchArrays<'py> = (
    Bound<'py, PyArray2<i8>>,
    Bound<'py, PyArray2<u16>>,
    Bound<'py, PyArray1<u8>>,
    Bound<'py, PyArray2<u64>>,
);

fn sketcher(
    directions: &PyReadonlyArray2<'_, f32>,
    steps: &PyReadonlyArray1<'_, f64>,
) -> PyResult<sketch::Sketcher> {
    let dim = directions.as_array().ncols();
    let (directions, steps) = (slice("directions", directions)?, slice("steps", steps)?);
    Ok(sketch::Sketcher::new(directions.to_vec(), steps.to_vec(), dim)?)
}

fn checked_rows<'a>(dim: usize, rows: &'a PyReadonlyArray2<'_, f32>) -> PyResult<&'a [f32]> {
    let got = rows.as_array().ncols();
    if got != dim {
        return Err(PyValueError::new_err(format!("vectors: expected (n, {dim}), got (n, {got})")));
    }
    slice("vectors", rows)
}

#[pyclass(module = "lvmfast._core")]
struct Sketcher {
    sketcher: sketch::Sketcher,
    threads: usize,
}

#[pymethods]
impl Sketcher {
    #[new]
    fn new(
        directions: PyReadonlyArray2<'_, f32>,
        steps: PyReadonlyArray1<'_, f64>,
        threads: usize,
    ) -> PyResult<Self> {
        Ok(Self { sketcher: sketcher(&directions, &steps)?, threads })
    }

    fn sketch<'py>(&self, py: Python<'py>, rows: PyReadonlyArray2<'py, f32>) -> PyResult<SketchArrays<'py>> {
        let rows = checked_rows(self.sketcher.dim(), &rows)?;
        let found = interruptible(py, self.threads, |watch| self.sketcher.sketch(rows, watch))?;
        let count = found.rests.len();
        Ok((
            found.codes.into_pyarray(py).reshape([count, self.sketcher.width()])?,
            PyArray1::from_slice(py, found.rests.as_flattened()).reshape([count, 2])?,
            found.usability.into_pyarray(py),
            pairs_array(py, &found.keys)?,
        ))
    }
}

/// Bound, usability and key arrays of one block.
type BoundArrays<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<u8>>, Bound<'py, PyArray2<u64>>);

#[pyclass(module = "lvmfast._core")]
struct SketchIndex {
    index: sketch::SketchIndex,
    threads: usize,
}

#[pymethods]
impl SketchIndex {
    #[new]
    fn new(
        directions: PyReadonlyArray2<'_, f32>,
        steps: PyReadonlyArray1<'_, f64>,
        codes: PyReadonlyArray2<'_, i8>,
        rests: PyReadonlyArray2<'_, u16>,
        threads: usize,
    ) -> PyResult<Self> {
        let sketcher = sketcher(&directions, &steps)?;
        let (pairs, odd) = slice("rests", &rests)?.as_chunks::<2>();
        if !odd.is_empty() || rests.as_array().ncols() != 2 {
            return Err(PyValueError::new_err("rests: expected (n, 2)"));
        }
        let index = sketch::SketchIndex::new(sketcher, slice("codes", &codes)?.to_vec(), pairs.to_vec())?;
        Ok(Self { index, threads })
    }

    fn bounds<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
        threshold: f64,
    ) -> PyResult<BoundArrays<'py>> {
        let rows = checked_rows(self.index.dim(), &rows)?;
        let found = interruptible(py, self.threads, |watch| self.index.bounds(rows, threshold, watch))?;
        Ok((found.bound.into_pyarray(py), found.usability.into_pyarray(py), pairs_array(py, &found.keys)?))
    }
}

#[pyfunction]
fn blake3_file(py: Python<'_>, path: std::path::PathBuf, threads: usize) -> PyResult<String> {
    interruptible(py, threads, |watch| digest::blake3_file(&path, watch))
}

#[pyfunction]
fn blake3_bytes(py: Python<'_>, data: &[u8], threads: usize) -> PyResult<String> {
    interruptible(py, threads, |_| Ok(digest::blake3_bytes(data)))
}

/// BLAKE3 of files, made while the caller does other work; what is left undone stops with the object.
#[pyclass]
struct FileHashes {
    hashing: std::sync::Mutex<digest::Hashing>,
}

#[pymethods]
impl FileHashes {
    #[new]
    fn new(paths: Vec<std::path::PathBuf>, threads: usize) -> PyResult<Self> {
        Ok(Self { hashing: std::sync::Mutex::new(digest::Hashing::start(paths, threads)?) })
    }

    fn wait(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        loop {
            let hashes = py.detach(|| {
                let hashing = self.hashing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                hashing.wait(BETWEEN_LOOKS)
            })?;
            if let Some(hashes) = hashes {
                return Ok(hashes);
            }
            py.check_signals()?;
        }
    }
}

/// Name of the kernel that the cosine scans of this process run on.
#[pyfunction]
fn kernel_name() -> PyResult<&'static str> {
    Ok(kernel::active()?.name())
}

/// Workers of the pool that `threads` stands for (0: one per available core).
#[pyfunction]
fn thread_count(threads: usize) -> PyResult<usize> {
    Ok(parallel::pool(threads)?.current_num_threads())
}

/// Scores and rows, `(q, k)` each.
type TopArrays<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<i64>>);

#[pyclass]
struct TopSearch {
    search: near::TopSearch,
    queries: usize,
    count: usize,
    threads: usize,
}

#[pymethods]
impl TopSearch {
    #[new]
    fn new(
        py: Python<'_>,
        queries: PyReadonlyArray2<'_, f32>,
        count: usize,
        offsets: PyReadonlyArray1<'_, i64>,
        excluded: PyReadonlyArray1<'_, i64>,
        threads: usize,
    ) -> PyResult<Self> {
        let (rows, dim) = queries.as_array().dim();
        let queries = slice("queries", &queries)?;
        let offsets = slice("offsets", &offsets)?.to_vec();
        let excluded = near::Excluded { offsets, rows: slice("excluded", &excluded)?.to_vec() };
        let search =
            interruptible(py, threads, |watch| near::TopSearch::new(queries, dim, count, excluded, watch))?;
        Ok(Self { search, queries: rows, count, threads })
    }

    fn seek<'py>(
        &mut self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
        first_row: i64,
    ) -> PyResult<Bound<'py, PyArray1<u8>>> {
        let (dim, got) = (self.search.dim(), rows.as_array().ncols());
        if got != dim {
            return Err(PyValueError::new_err(format!("rows: expected {dim} components, got {got}")));
        }
        let rows = slice("rows", &rows)?;
        let search = &mut self.search;
        Ok(interruptible(py, self.threads, |watch| search.seek(rows, first_row, watch))?.into_pyarray(py))
    }

    fn best<'py>(&self, py: Python<'py>) -> PyResult<TopArrays<'py>> {
        let near::Top { cosine, row } = self.search.best();
        let shape = (self.queries, self.count);
        Ok((cosine.into_pyarray(py).reshape(shape)?, row.into_pyarray(py).reshape(shape)?))
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.search.nbytes()
    }
}

#[pyclass(module = "lvmfast._core")]
struct OverlapIndex {
    index: overlap::OverlapIndex,
}

#[pymethods]
impl OverlapIndex {
    #[new]
    fn new() -> Self {
        Self { index: overlap::OverlapIndex::new() }
    }

    fn add(
        &mut self,
        py: Python<'_>,
        data: PyReadonlyArray1<'_, u8>,
        offsets: PyReadonlyArray1<'_, i64>,
        threads: usize,
    ) -> PyResult<()> {
        let texts = Texts::new(slice("data", &data)?, slice("offsets", &offsets)?)?;
        let index = &mut self.index;
        interruptible(py, threads, |watch| index.add(&texts, watch))
    }

    fn close(&mut self, py: Python<'_>, threads: usize) -> PyResult<()> {
        let index = &mut self.index;
        interruptible(py, threads, |_| {
            index.close();
            Ok(())
        })
    }

    fn end(&mut self, py: Python<'_>, threads: usize) -> PyResult<()> {
        let index = &mut self.index;
        interruptible(py, threads, |_| {
            index.end();
            Ok(())
        })
    }

    fn blocks(&self, room: u64) -> Option<u64> {
        self.index.blocks(room)
    }

    fn turn(&mut self, py: Python<'_>, block: usize, of: usize, threads: usize) -> PyResult<()> {
        if block >= of {
            return Err(PyValueError::new_err(format!("overlap: block {block} of {of}")));
        }
        let index = &mut self.index;
        interruptible(py, threads, |_| {
            index.turn(block, of);
            Ok(())
        })
    }

    fn watch_grams(&mut self, py: Python<'_>) {
        let index = &mut self.index;
        py.detach(|| index.watch_grams());
    }

    fn take_seen<'py>(&self, py: Python<'py>) -> [Bound<'py, PyArray1<u32>>; 3] {
        self.index.take_seen().map(|places| places.into_pyarray(py))
    }

    fn repeated_grams<'py>(
        &self,
        py: Python<'py>,
        which: usize,
        threads: usize,
    ) -> PyResult<[Bound<'py, PyArray1<u32>>; 2]> {
        if which > 2 {
            return Err(PyValueError::new_err(format!("grams of 8, 11 and 13 tokens, got number {which}")));
        }
        let index = &self.index;
        let repeated = interruptible(py, threads, |_| Ok(index.repeated_grams(which)))?;
        let (places, first): (Vec<u32>, Vec<u32>) = repeated.into_iter().unzip();
        Ok([places, first].map(|places| places.into_pyarray(py)))
    }

    fn tokens<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        array_of(py, self.index.tokens(), |tokens| tokens as i32)
    }

    fn words<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        array_of(py, self.index.words(), |words| words as i32)
    }

    fn same_as<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        array_of(py, self.index.same_as(), i64::from)
    }

    #[pyo3(signature = (data, offsets, threads, starts=None, among=None))]
    fn scan<'py>(
        &self,
        py: Python<'py>,
        data: PyReadonlyArray1<'py, u8>,
        offsets: PyReadonlyArray1<'py, i64>,
        threads: usize,
        starts: Option<PyReadonlyArray1<'py, i64>>,
        among: Option<PyReadonlyArray1<'py, i64>>,
    ) -> PyResult<OverlapPairs> {
        let texts = Texts::new(slice("data", &data)?, slice("offsets", &offsets)?)?;
        let starts = starts.as_ref().map(|starts| slice("starts", starts)).transpose()?;
        let documents = overlap::Documents::new(&texts, starts)?;
        let among = among.as_ref().map(|items| slice("among", items)).transpose()?;
        let pairs = interruptible(py, threads, |watch| match among {
            Some(items) => self.index.scan_among(&documents, items, watch),
            None => self.index.scan(&documents, watch),
        })?;
        Ok(OverlapPairs { pairs })
    }

    fn possible<'py>(&self, py: Python<'py>, filter: &GramFilter) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let possible = py.detach(|| self.index.possible(&filter.filter))?;
        Ok(possible.into_pyarray(py))
    }

    #[getter]
    fn items(&self) -> usize {
        self.index.len()
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.index.nbytes()
    }
}

fn array_of<S, T: numpy::Element>(
    py: Python<'_>,
    values: impl IntoIterator<Item = S>,
    of: impl Fn(S) -> T,
) -> Bound<'_, PyArray1<T>> {
    values.into_iter().map(of).collect::<Vec<_>>().into_pyarray(py)
}

#[pyclass(frozen, module = "lvmfast._core")]
struct OverlapPairs {
    pairs: Vec<overlap::Pair>,
}

#[pymethods]
impl OverlapPairs {
    fn __len__(&self) -> usize {
        self.pairs.len()
    }

    #[getter]
    fn document<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        array_of(py, &self.pairs, |pair| pair.document as i64)
    }

    #[getter]
    fn item<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        array_of(py, &self.pairs, |pair| i64::from(pair.item))
    }

    #[getter]
    fn covered<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        array_of(py, &self.pairs, |pair| pair.covered() as i32)
    }

    #[getter]
    fn weight<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        array_of(py, &self.pairs, |pair| pair.weight as i32)
    }

    #[getter]
    fn tokens_covered<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        array_of(py, &self.pairs, |pair| pair.tokens_covered() as i32)
    }

    #[getter]
    fn words_covered<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        array_of(py, &self.pairs, |pair| pair.words_covered as i32)
    }

    #[getter]
    fn longest<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        array_of(py, &self.pairs, |pair| pair.longest as i32)
    }

    #[getter]
    fn in_8<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        array_of(py, &self.pairs, |pair| pair.in_8 as i32)
    }

    #[getter]
    fn in_13<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        array_of(py, &self.pairs, |pair| pair.in_13 as i32)
    }

    #[getter]
    fn window_start<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        array_of(py, &self.pairs, |pair| pair.window.start as i64)
    }

    #[getter]
    fn window_end<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        array_of(py, &self.pairs, |pair| pair.window.end as i64)
    }

    #[getter]
    fn row_start<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        array_of(py, &self.pairs, |pair| pair.rows.start as i64)
    }

    #[getter]
    fn row_end<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        array_of(py, &self.pairs, |pair| pair.rows.end as i64)
    }

    #[getter]
    fn row_token<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        array_of(py, &self.pairs, |pair| pair.row_token as i64)
    }

    #[getter]
    fn near_start<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        array_of(py, &self.pairs, |pair| pair.near.start as i64)
    }

    #[getter]
    fn near_end<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        array_of(py, &self.pairs, |pair| pair.near.end as i64)
    }

    #[getter]
    fn near_token<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        array_of(py, &self.pairs, |pair| pair.near_token as i64)
    }

    #[getter]
    fn touched<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<i64>>> {
        let of = |(number, pair): (usize, &overlap::Pair)| {
            let rows = if pair.touched.is_empty() { vec![pair.rows.clone()] } else { pair.touched.clone() };
            rows.into_iter().flat_map(move |rows| [number as i64, rows.start as i64, rows.end as i64])
        };
        let touched: Vec<i64> = self.pairs.iter().enumerate().flat_map(of).collect();
        let ranges = touched.len() / 3;
        touched.into_pyarray(py).reshape([ranges, 3])
    }

    #[getter]
    fn in_document<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        array_of(py, &self.pairs, |pair| pair.in_document as i32)
    }

    #[getter]
    fn strength<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u8>> {
        array_of(py, &self.pairs, |pair| pair.strength)
    }

    #[getter]
    fn numbers_differ<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        array_of(py, &self.pairs, |pair| pair.numbers_differ)
    }
}

#[pyclass(module = "lvmfast._core")]
struct OverlapAnswers {
    answers: overlap::Answers,
}

#[pymethods]
impl OverlapAnswers {
    #[new]
    fn new() -> Self {
        Self { answers: overlap::Answers::default() }
    }

    fn add<'py>(
        &mut self,
        py: Python<'py>,
        questions: (PyReadonlyArray1<'py, u8>, PyReadonlyArray1<'py, i64>),
        answers: (PyReadonlyArray1<'py, u8>, PyReadonlyArray1<'py, i64>),
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let questions = Texts::new(slice("data", &questions.0)?, slice("offsets", &questions.1)?)?;
        let texts = Texts::new(slice("data", &answers.0)?, slice("offsets", &answers.1)?)?;
        let answers = &mut self.answers;
        let some = interruptible(py, threads, |watch| answers.add(&questions, &texts, watch))?;
        Ok(some.into_pyarray(py))
    }

    fn nearby<'py>(
        &self,
        py: Python<'py>,
        documents: (PyReadonlyArray1<'py, u8>, PyReadonlyArray1<'py, i64>),
        places: PyReadonlyArray2<'py, i64>,
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let documents = Texts::new(slice("data", &documents.0)?, slice("offsets", &documents.1)?)?;
        let places = places.as_array();
        if places.ncols() != 4 {
            return Err(PyValueError::new_err("expected places of shape (n, 4)"));
        }
        let at = |place: i64| usize::try_from(place).unwrap_or(0);
        let places: Vec<_> = places
            .rows()
            .into_iter()
            .map(|row| overlap::Place {
                document: at(row[0]),
                window: at(row[1])..at(row[2]),
                row: at(row[3]),
            })
            .collect();
        if places.iter().any(|place| place.document >= documents.len()) {
            return Err(PyValueError::new_err("a place is of no document"));
        }
        let found = interruptible(py, threads, |watch| self.answers.nearby(&documents, &places, watch))?;
        Ok(found.into_pyarray(py))
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.answers.nbytes()
    }
}

#[pyclass(module = "lvmfast._core")]
struct GramFilter {
    filter: overlap::GramFilter,
}

#[pymethods]
impl GramFilter {
    #[new]
    fn new(blocks: usize) -> PyResult<Self> {
        Ok(Self { filter: overlap::GramFilter::new(blocks)? })
    }

    #[staticmethod]
    fn of(blocks: PyReadonlyArray2<'_, u32>) -> PyResult<Self> {
        let (blocks, rest) = slice("blocks", &blocks)?.as_chunks();
        if !rest.is_empty() {
            return Err(PyValueError::new_err("blocks: expected 8 words each"));
        }
        Ok(Self { filter: overlap::GramFilter::of(blocks.to_vec())? })
    }

    fn insert(&mut self, py: Python<'_>, hashes: PyReadonlyArray1<'_, u64>) -> PyResult<()> {
        let hashes = slice("hashes", &hashes)?;
        py.detach(|| self.filter.insert(hashes));
        Ok(())
    }

    #[getter]
    fn blocks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<u32>>> {
        let blocks = self.filter.blocks();
        blocks.as_flattened().to_vec().into_pyarray(py).reshape([blocks.len(), 8])
    }

    #[getter]
    fn false_positive_rate(&self) -> f64 {
        self.filter.false_positive_rate()
    }
}

#[pyfunction]
fn overlap_grams<'py>(
    py: Python<'py>,
    data: PyReadonlyArray1<'py, u8>,
    offsets: PyReadonlyArray1<'py, i64>,
    threads: usize,
) -> PyResult<Bound<'py, PyArray1<u64>>> {
    let texts = Texts::new(slice("data", &data)?, slice("offsets", &offsets)?)?;
    let hashes = interruptible(py, threads, |watch| overlap::gram_hashes(&texts, watch))?;
    Ok(hashes.into_pyarray(py))
}

#[pyfunction]
fn overlap_spans<'py>(
    py: Python<'py>,
    document: &str,
    items: Vec<String>,
    windows: PyReadonlyArray2<'py, i64>,
) -> PyResult<Vec<Bound<'py, PyArray2<i64>>>> {
    let windows = ranges(&windows)?;
    if windows.len() != items.len() {
        return Err(PyValueError::new_err("expected a window for each item"));
    }
    let items = items.iter().map(String::as_str).zip(windows);
    let spans = py.detach(|| overlap::spans(document, items));
    spans.iter().map(|spans| places(py, spans)).collect()
}

#[pyfunction]
fn overlap_stretches<'py>(
    py: Python<'py>,
    document: &str,
    windows: PyReadonlyArray2<'py, i64>,
) -> PyResult<Bound<'py, PyArray2<i64>>> {
    let windows = ranges(&windows)?;
    places(py, &py.detach(|| overlap::stretches(document, &windows)))
}

#[pyfunction]
fn overlap_answers<'py>(
    py: Python<'py>,
    document: &str,
    items: Vec<(String, String)>,
    windows: PyReadonlyArray2<'py, i64>,
) -> PyResult<Bound<'py, PyArray2<i64>>> {
    let windows = ranges(&windows)?;
    if windows.len() != items.len() {
        return Err(PyValueError::new_err("expected a window for each item"));
    }
    let items = items
        .iter()
        .zip(windows)
        .map(|((question, answers), window)| (question.as_str(), answers.as_str(), window));
    places(py, &py.detach(|| overlap::answer_spans(document, items)))
}

/// The windows in rows of their start and end; what is negative is 0.
fn ranges(windows: &PyReadonlyArray2<'_, i64>) -> PyResult<Vec<std::ops::Range<usize>>> {
    let windows = windows.as_array();
    if windows.ncols() != 2 {
        return Err(PyValueError::new_err("expected windows of shape (n, 2)"));
    }
    let at = |place: i64| usize::try_from(place).unwrap_or(0);
    Ok(windows.rows().into_iter().map(|row| at(row[0])..at(row[1])).collect())
}

fn places<'py, const N: usize>(
    py: Python<'py>,
    places: &[[usize; N]],
) -> PyResult<Bound<'py, PyArray2<i64>>> {
    let flat: Vec<_> = places.as_flattened().iter().map(|&at| at as i64).collect();
    flat.into_pyarray(py).reshape([places.len(), N])
}

#[pyfunction]
fn overlap_unicode() -> String {
    overlap::unicode_version()
}

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add_function(wrap_pyfunction!(unicode_version, m)?)?;
    m.add_function(wrap_pyfunction!(normalize_text, m)?)?;
    m.add_function(wrap_pyfunction!(hash_texts_128, m)?)?;
    m.add_function(wrap_pyfunction!(hash_texts_64, m)?)?;
    m.add_function(wrap_pyfunction!(text_keys, m)?)?;
    m.add_function(wrap_pyfunction!(string_keys, m)?)?;
    m.add_function(wrap_pyfunction!(misspelt_number, m)?)?;
    m.add_function(wrap_pyfunction!(intersect, m)?)?;
    m.add_function(wrap_pyfunction!(describe_rows, m)?)?;
    m.add_function(wrap_pyfunction!(scan_within, m)?)?;
    m.add_function(wrap_pyfunction!(window_cosines, m)?)?;
    m.add_function(wrap_pyfunction!(numbered_window_cosines, m)?)?;
    m.add_function(wrap_pyfunction!(blake3_bytes, m)?)?;
    m.add_function(wrap_pyfunction!(blake3_file, m)?)?;
    m.add_function(wrap_pyfunction!(kernel_name, m)?)?;
    m.add_function(wrap_pyfunction!(thread_count, m)?)?;
    m.add_class::<CsvReader>()?;
    m.add_class::<FileHashes>()?;
    m.add_function(wrap_pyfunction!(line_ends, m)?)?;
    m.add_class::<GzipDecoder>()?;
    m.add_class::<KeyTable>()?;
    m.add_class::<KnownFields>()?;
    m.add_class::<LineReader>()?;
    m.add_class::<TextIndex>()?;
    m.add_class::<Sketcher>()?;
    m.add_class::<SketchIndex>()?;
    m.add_class::<NearIndex>()?;
    m.add_class::<GramFilter>()?;
    m.add_function(wrap_pyfunction!(overlap_grams, m)?)?;
    m.add_function(wrap_pyfunction!(overlap_answers, m)?)?;
    m.add_function(wrap_pyfunction!(overlap_spans, m)?)?;
    m.add_function(wrap_pyfunction!(overlap_stretches, m)?)?;
    m.add_function(wrap_pyfunction!(overlap_unicode, m)?)?;
    m.add_class::<OverlapAnswers>()?;
    m.add_class::<OverlapIndex>()?;
    m.add_class::<OverlapPairs>()?;
    m.add_class::<TopSearch>()
}
