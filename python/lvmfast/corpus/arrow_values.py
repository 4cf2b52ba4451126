"""Arrow columns become ids and texts: one table says how each type does, and what is not in it is refused.

docs/formats.md has the table in words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lvmfast.corpus.arrow_types import extension_name, leaf_of, meant_type, plain
from lvmfast.corpus.plain import of_type
from lvmfast.corpus.values import item_text, spelt_ids, text_from_values
from lvmfast.errors import DataError

_Reader = Callable[[pa.Array, str, int], pa.Array]

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_LONGEST = 40
_TEXT = pa.large_string()
#: Bytes that text does not hold: digests do.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


def text_from_arrow(array: pa.Array, where: str, first_row: int) -> pa.Array:
    """`array` as large_string with its nulls.

    Raises:
        DataError: the type is no text, or a row is not UTF-8; it names `where` and the row.
    """
    kind = _kind_of(array.type)
    if kind is None or kind.text is None:
        raise DataError(f"{where}: expected text, got {array.type}")
    return kind.text(plain(array), where, first_row)


def is_item_type(arrow_type: pa.DataType, *, numbers: bool) -> bool:
    """Whether `item_from_arrow` can read `arrow_type`: texts, lists of them, and if so `numbers`."""
    leaf, depth = leaf_of(arrow_type)
    return is_text_type(leaf) or ((numbers or depth > 0) and bool(pa.types.is_integer(leaf)))


def item_from_arrow(array: pa.Array, where: str, first_row: int) -> pa.Array:
    """What evaluation items say in a field, as large_string with its nulls; of lists, as `item_text` says.

    Raises:
        DataError: a row is not UTF-8; it names `where` and the row.
    """
    if is_text_type(array.type):
        return text_from_arrow(array, where, first_row)
    return pa.array(map(item_text, plain(array).to_pylist()), pa.large_string())


def ids_from_arrow(array: pa.Array, where: str, first_row: int) -> pa.Array:
    """int64 or large_string ids with their nulls; see `id_type_of` for which.

    Raises:
        DataError: the values are no ids, or bytes that are not UTF-8.
    """
    kind = _kind_of(array.type)
    if kind is None or kind.ids is None:
        raise DataError(f"{where}: expected integer or string ids, got {array.type}")
    return kind.ids(plain(array), where, first_row)


def id_type_of(arrow_type: pa.DataType) -> pa.DataType | None:
    """The type that ids of `arrow_type` are read as: int64, large_string, or None for what is no id."""
    kind = _kind_of(arrow_type)
    return None if kind is None or kind.ids is None else kind.id_type


def is_text_type(arrow_type: pa.DataType) -> bool:
    """Whether `text_from_arrow` can read `arrow_type`: strings, UTF-8 bytes, JSON, or nothing."""
    kind = _kind_of(arrow_type)
    return kind is not None and kind.text is not None


def id_note(field: str, arrow_type: pa.DataType) -> str | None:
    """What `ids_from_arrow` does to values of `arrow_type` that a user must know, or None."""
    if _kind_of(arrow_type) is _BYTES:
        return f"{field}: {arrow_type}: ids that are no text are read as hexadecimal digits"
    return None


def _texts(array: pa.Array, where: str, first_row: int) -> pa.Array:
    try:
        text = of_type(array, _TEXT)
        text.validate(full=True)  # files can hold strings that are not UTF-8
    except pa.ArrowInvalid as error:
        row = first_row + _first_not_utf8(array.cast(pa.large_binary()))
        raise DataError(f"{where}: row {row}: not UTF-8") from error
    return text


def _first_not_utf8(array: pa.Array) -> int:
    for row, value in enumerate(array):
        try:
            (value.as_py() or b"").decode()
        except UnicodeDecodeError:
            return row
    return 0


def _bytes_as_text(array: pa.Array, where: str, first_row: int) -> pa.Array:
    return _texts(array.cast(pa.large_binary()), where, first_row)


def _texts_as_ids(array: pa.Array, where: str, first_row: int) -> pa.Array:
    return spelt_ids(_texts(array, where, first_row), where, first_row)


def _bytes_as_ids(array: pa.Array, where: str, first_row: int) -> pa.Array:
    """Text where a value is text, else its hexadecimal digits. The value alone decides: it equals itself."""
    values = array.cast(pa.large_binary()).to_pylist()
    texts = [None if value is None else _text_in(value) for value in values]
    ids = spelt_ids(text_from_values(texts, where, first_row), where, first_row)
    if ids.null_count == array.null_count:
        return ids
    digits = [
        value.hex() if text is None and value is not None else text
        for text, value in zip(texts, values, strict=True)
    ]
    return pa.array(digits, pa.large_string())


def _text_in(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROLS.search(text) else text


def _uuids(array: pa.Array, where: str, first_row: int) -> pa.Array:
    """``8-4-4-4-12`` hexadecimal digits in lower case, as everybody prints them."""
    digits = [None if value is None else value.hex() for value in array.to_pylist()]
    groups = [d and f"{d[:8]}-{d[8:12]}-{d[12:16]}-{d[16:20]}-{d[20:]}" for d in digits]
    return text_from_values(groups, where, first_row)


def _json_as_text(array: pa.Array, where: str, first_row: int) -> pa.Array:
    """The string where the JSON is one, null where it is null, else the JSON as it stands."""
    return text_from_values([_json_value(value) for value in array.to_pylist()], where, first_row)


def _json_as_ids(array: pa.Array, where: str, first_row: int) -> pa.Array:
    stored = array.to_pylist()
    values = [_json_value(value) for value in stored]
    for row, (raw, value) in enumerate(zip(stored, values, strict=True), first_row):
        if value is not None and value is raw and not _INTEGER.fullmatch(value):
            shown = value if len(value) <= _LONGEST else value[:_LONGEST] + "..."
            raise DataError(f"{where}: row {row}: expected an integer or string id, got the JSON {shown}")
    return spelt_ids(text_from_values(values, where, first_row), where, first_row)


def _json_value(value: str | None) -> str | None:
    if value is None or value.strip() == "null":
        return None
    if not value.lstrip().startswith('"'):
        return value
    try:
        decoded: Any = json.loads(value)
    except ValueError:
        return value
    return str(decoded)


def _integers(array: pa.Array, where: str, first_row: int) -> pa.Array:
    return of_type(array, pa.int64())


def _decimal_digits(array: pa.Array, where: str, first_row: int) -> pa.Array:
    return array.cast(pa.large_string())


@dataclass(frozen=True)
class _Kind:
    """Arrow types that are read alike."""

    holds: Callable[[pa.DataType], bool]  #: a type that is no dictionary and no run
    text: _Reader | None = None  #: None: no text
    ids: _Reader | None = None  #: None: no ids
    id_type: pa.DataType = _TEXT


def _is_extension(name: str) -> Callable[[pa.DataType], bool]:
    return lambda type_: extension_name(type_) == name


def _is_wide(type_: pa.DataType) -> bool:
    return bool(pa.types.is_uint64(type_) or (pa.types.is_decimal(type_) and type_.scale == 0))


def _is_string(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
        or pa.types.is_null(type_)
    )


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(type_)
        or pa.types.is_large_binary(type_)
        or pa.types.is_binary_view(type_)
        or pa.types.is_fixed_size_binary(type_)
    )


_BYTES = _Kind(_is_bytes, _bytes_as_text, _bytes_as_ids)
#: The first kind that holds a type is the one it is read as.
_KINDS = (
    _Kind(_is_extension("arrow.uuid"), ids=_uuids),
    _Kind(_is_extension("arrow.json"), _json_as_text, _json_as_ids),
    _Kind(_is_extension("arrow.bool8")),
    _Kind(_is_string, _texts, _texts_as_ids),
    _BYTES,
    _Kind(_is_wide, ids=_decimal_digits),
    _Kind(pa.types.is_integer, ids=_integers, id_type=pa.int64()),
)


def _kind_of(arrow_type: pa.DataType) -> _Kind | None:
    """How `arrow_type` is read; another extension is read as what it is stored as."""
    type_ = meant_type(arrow_type)
    kind = next((kind for kind in _KINDS if kind.holds(type_)), None)
    if kind is None and isinstance(type_, pa.BaseExtensionType):
        return _kind_of(type_.storage_type)
    return kind
