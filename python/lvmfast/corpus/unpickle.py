"""An unpickler for numpy arrays, numpy scalars and plain containers, and for nothing else.

A pickle is a program that calls what it can name. Here it can name the few things in `_globals`, each of
which is a stand-in written below: not even numpy's own constructors run, as some of them can be made to
allocate or overwrite memory. The stand-ins are made anew for every load and take no attributes, so that a
pickle cannot alter them either.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

import numpy as np

from lvmfast.corpus.failures import one_line
from lvmfast.errors import DataError

_PLAIN_DTYPE = re.compile(r"[?bhilqpBHILQPefdgSUOV]|[biufcSUVO]\d+")


def load_plain(file: BinaryIO, where: str) -> Any:
    """The one pickled object at the current position of `file`. Object arrays come back as arrays.

    Raises:
        DataError: the pickle names anything but arrays and plain containers, or is broken.
    """
    try:
        return _revealed(_PlainUnpickler(file, where).load(), {})
    except DataError:
        raise
    except Exception as error:  # broken pickles raise whatever the opcode that they tripped over raises
        raise DataError(f"{where}: broken pickle: {one_line(error)}") from error


class _PlainUnpickler(pickle.Unpickler):
    """Looks names up among the stand-ins; imports nothing."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        super().__init__(file)
        self._where = where
        self._globals = _globals()

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a global.

        Raises:
            DataError: there is none.
        """
        found = self._globals.get((module.replace("numpy._core.", "numpy.core."), name))
        if found is None:
            raise DataError(
                f"{self._where}: refused: the pickle asks for {one_line(f'{module}.{name}')}, and only numpy "
                "arrays and plain containers are admitted"
            )
        return found


class _Callable:
    """A function that a pickle may call, and can do nothing else with."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


def _globals() -> dict[tuple[str, str], _Callable]:
    array_type = _Callable(_refuse_call)
    reconstruct = _Callable(lambda subtype, shape, code: _Array())
    allowed: dict[tuple[str, str], _Callable] = {
        ("numpy", "ndarray"): array_type,
        ("numpy", "dtype"): _Callable(_Dtype),
        ("numpy.core.multiarray", "_reconstruct"): reconstruct,
        ("numpy.core.multiarray", "scalar"): _Callable(_scalar),
        ("numpy.core.numeric", "_frombuffer"): _Callable(_from_buffer),
        ("_codecs", "encode"): _Callable(_latin1),
        ("collections", "OrderedDict"): _Callable(_dict),
    }
    for builtins in ("builtins", "__builtin__"):
        allowed[builtins, "bytes"] = _Callable(_no_bytes)
        allowed[builtins, "bytearray"] = _Callable(_bytes)
        for container in (set, frozenset, list, tuple, dict):
            allowed[builtins, container.__name__] = _Callable(container)
    return allowed


def _refuse_call(*args: Any) -> Any:
    raise ValueError("numpy.ndarray called by name")


def _dict(pairs: Iterable[tuple[Any, Any]] = ()) -> dict[Any, Any]:
    return dict(pairs)


def _no_bytes() -> bytes:
    """What empty bytes are below protocol 3."""
    return b""


def _bytes(data: bytes | str = b"", encoding: str = "latin1") -> bytes:
    return _latin1(data, encoding) if isinstance(data, str) else _as_bytes(data)


def _as_bytes(data: Any) -> bytes:
    if not isinstance(data, (bytes, bytearray)):
        raise ValueError(f"expected bytes, got {type(data).__name__}")
    return bytes(data)


def _latin1(text: str, encoding: str) -> bytes:
    """What bytes are below protocol 3: text that encodes to them."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError(f"_codecs.encode to {encoding!r}")
    return text.encode("latin-1")


class _Dtype:
    """Stands for `numpy.dtype`: a kind, a size and a byte order; no fields, no subarrays."""

    __slots__ = ("value",)

    def __init__(self, code: str, align: Any = False, copy: Any = False) -> None:
        if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
            raise ValueError(f"dtype {code!r}")
        self.value = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, subarray, names, fields = state[:5]
        if subarray is not None or names is not None or fields is not None or order not in tuple("<>|="):
            raise ValueError("a structured dtype")
        if order in "<>":
            self.value = self.value.newbyteorder(order)


class _Array:
    """Stands for an array until its state arrives; `_revealed` puts the array in its place."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _array(shape, dtype, "F" if fortran else "C", data)


def _array(shape: Any, dtype: Any, order: Any, data: Any) -> Any:
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple):
        raise ValueError("an array without a dtype and a shape")
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"shape {shape!r}")
    count = math.prod(shape)
    if dtype.value.hasobject:
        if not isinstance(data, list) or len(data) != count:
            raise ValueError(f"an object array of shape {shape} without its {count} values")
        objects = np.empty(count, dtype=object)
        for place, item in enumerate(data):
            objects[place] = item
        return objects.reshape(shape)  # numpy lists objects in C order, whatever it says of the array
    values = _as_bytes(data)
    if len(values) != count * dtype.value.itemsize:
        raise ValueError(f"{len(values)} bytes for {shape} {dtype.value}")
    return np.frombuffer(values, dtype.value, count).reshape(shape, order=order)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any, *axes: Any) -> Any:
    found = _Array()
    if order not in ("C", "F"):
        raise ValueError(f"order {order!r}")
    found.value = _array(shape, dtype, order, data)
    return found


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if not isinstance(dtype, _Dtype) or dtype.value.hasobject:
        raise ValueError("a scalar of no plain dtype")
    return _array((), dtype, "C", data)[()].item()


def _revealed(value: Any, done: dict[int, Any]) -> Any:
    """`value` with every stand-in replaced by its array, at any depth; `done` ends cycles."""
    if isinstance(value, (_Dtype, _Callable)):
        raise ValueError("a dtype or a function among the values")
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, _Array):
        array = value.value
        if array is None:
            raise ValueError("an array without values")
        done[id(value)] = array
        if array.dtype.hasobject:
            flat = array.reshape(-1)
            for place in range(flat.size):
                flat[place] = _revealed(flat[place], done)
        return array
    if isinstance(value, dict):
        done[id(value)] = value
        for key, item in value.items():
            value[key] = _revealed(item, done)
    elif isinstance(value, list):
        done[id(value)] = value
        value[:] = [_revealed(item, done) for item in value]
    elif isinstance(value, tuple):
        return tuple(_revealed(item, done) for item in value)
    return value
