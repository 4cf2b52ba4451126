"""One dictionary for each field of what is written, where files or batches come with several.

An Arrow file has one for all of its batches, and the categories of two shards are seldom the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from lvmfast.corpus.failures import one_line
from lvmfast.errors import DataError

#: So many entries soon come together.
_NARROW = 16
#: Tried in turn where the entries of all files are too many for the type of the indices.
_WIDER = (None, pa.int32(), pa.int64())


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The first of `schemas`, with the widest indices that a dictionary has in any of them."""
    schema = schemas[0]
    for place, field in enumerate(schema):
        types = [other.field(place).type for other in schemas if len(other) > place]
        if all(map(pa.types.is_dictionary, types)):
            widest = max((type_.index_type for type_ in types), key=lambda index: index.bit_width)
            schema = schema.set(place, field.with_type(_indexed(field.type, widest)))
    return schema


class SharedDictionaries:
    """Dictionaries that hold the entries of all batches."""

    def __init__(
        self, schema: pa.Schema, fields: Sequence[str], examples: Callable[[], Iterable[pa.RecordBatch]]
    ) -> None:
        """Of batches of `schema`, for `fields`; `examples` gives one of each dictionary, when it is called.

        Raises:
            DataError: the entries are too many for any indices.
        """
        self.schema, self._fields = schema, fields
        self._entries: pa.RecordBatch | None = None
        if not fields:
            return
        for index in _WIDER:
            self.schema = _widened(schema, index)
            try:
                self._entries = self._united(examples())
            except pa.ArrowInvalid as error:
                refusal = error
            else:
                return
        raise DataError(f"{', '.join(fields)}: {one_line(refusal)}")

    def _united(self, examples: Iterable[pa.RecordBatch]) -> pa.RecordBatch | None:
        """A row with the dictionaries of all `examples`, or None where they are the same."""
        entries: pa.RecordBatch | None = None
        several = False
        for batch in examples:
            one = self._cast(batch.slice(0, 1).select(self._fields))
            if entries is None:
                entries = one
            elif not all(map(_alike, entries.columns, one.columns)):
                several = True
                entries = pa.Table.from_batches([entries, one]).unify_dictionaries().to_batches()[0]
        return entries if several else None

    def _cast(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        fields = [self.schema.field(name) for name in batch.schema.names]
        arrays = [
            array if array.type.equals(field.type) else array.cast(field.type)
            for array, field in zip(batch.columns, fields, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, self.schema.metadata))

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """`batch` with these dictionaries."""
        batch = self._cast(batch)
        if self._entries is None or not batch.num_rows:
            return batch
        both = pa.Table.from_batches([self._entries, batch.select(self._fields)]).unify_dictionaries()
        recoded = both.slice(self._entries.num_rows).combine_chunks().to_batches()[0]
        for place, name in enumerate(self._fields):
            at = batch.schema.get_field_index(name)
            batch = batch.set_column(at, self.schema.field(name), recoded.column(place))
        return batch


def _alike(one: pa.Array, other: pa.Array) -> bool:
    """Whether both have the same dictionary; False where it is further inside."""
    return pa.types.is_dictionary(one.type) and bool(one.dictionary.equals(other.dictionary))


def dictionary_fields(schema: pa.Schema) -> list[str]:
    """Fields with a dictionary anywhere in them."""
    return [field.name for field in schema if _has_dictionary(field.type)]


def narrow_fields(schema: pa.Schema) -> list[str]:
    """Fields whose dictionary can have more entries, all files together, than its indices have numbers."""
    return [
        field.name
        for field in schema
        if pa.types.is_dictionary(field.type) and field.type.index_type.bit_width <= _NARROW
    ]


def _has_dictionary(type_: pa.DataType) -> bool:
    if isinstance(type_, pa.BaseExtensionType):
        return _has_dictionary(type_.storage_type)
    return pa.types.is_dictionary(type_) or any(
        _has_dictionary(type_.field(place).type) for place in range(type_.num_fields)
    )


def _indexed(type_: pa.DictionaryType, index: pa.DataType) -> pa.DataType:
    return pa.dictionary(index, type_.value_type, type_.ordered)


def _widened(schema: pa.Schema, index: pa.DataType | None) -> pa.Schema:
    """`schema` with indices of at least `index` in its dictionaries."""
    for place, field in enumerate(schema):
        type_ = field.type
        if (
            index is not None
            and pa.types.is_dictionary(type_)
            and type_.index_type.bit_width < index.bit_width
        ):
            schema = schema.set(place, field.with_type(_indexed(type_, index)))
    return schema
