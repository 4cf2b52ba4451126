"""An unpickler for numpy arrays, numpy scalars and plain containers, and for nothing else.

A pickle is a program that calls what it can name. Here it can name the few things in `_globals`, each of
which is a stand-in written below: not even numpy's own constructors run, as some of them can be made to
allocate or overwrite memory. The stand-ins are made anew for every load and take no attributes, so that a
pickle cannot alter them either.

Memory is bounded by the bytes that are there: nothing is allocated because a pickle says how long something
will be, and all that the stand-ins copy together is some multiple of the pickle.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np

from lvmfast.corpus.failures import one_line
from lvmfast.corpus.npy import Readable
from lvmfast.errors import DataError

_PLAIN_DTYPE = re.compile(r"[?bhilqpBHILQPefdgSUOV]|[biufcSUVO]\d+")


#: What the stand-ins may allocate for each byte of a pickle, and for any pickle.
_COPIED_PER_BYTE, _COPIED = 64, 16 << 20
_POINTER_BYTES = 16
_BLOCK_BYTES = 64 << 10


def load_plain(file: Readable, size: int, where: str) -> Any:
    """The one pickled object in the next `size` bytes of `file`. Object arrays come back as arrays.

    Raises:
        DataError: the pickle names anything but arrays and plain containers, or is broken.
    """
    try:
        return _Revealed().of(_PlainUnpickler(_Bytes(file, size), size, where).load())
    except DataError:
        raise
    except KeyError as error:
        raise DataError(f"{where}: broken pickle: no opcode is {error}") from error
    except Exception as error:  # broken pickles raise whatever the opcode that they tripped over raises
        raise DataError(f"{where}: broken pickle: {one_line(error)}") from error


class _Bytes:
    """The bytes of a pickle. No more are asked for than there are: a reader may allocate what it is asked."""

    def __init__(self, file: Readable, size: int) -> None:
        self._file, self._left = file, size
        self._block, self._place = b"", 0  # read, and how much of it is used

    def _filled(self, size: int) -> None:
        """Makes the block hold the next `size` bytes, or all that there are."""
        more = self._file.read(min(max(size, _BLOCK_BYTES), self._left))
        self._left -= len(more)
        self._block, self._place = self._block[self._place :] + more, 0

    def read(self, size: int) -> bytes:
        if self._place + size > len(self._block):
            self._filled(size)
        start = self._place
        self._place = min(start + size, len(self._block))
        return self._block[start : self._place]

    def readline(self) -> bytes:
        while (end := self._block.find(b"\n", self._place)) < 0 and self._left:
            self._filled(2 * len(self._block))
        return self.read(end + 1 - self._place if end >= 0 else len(self._block) - self._place)


# pickle's unpickler in C gives a memo as many places as the highest number in the pickle, and a string as
# many bytes as its length says, before either is there; the one in Python does so for bytearrays alone.
class _PlainUnpickler(pickle._Unpickler):
    """Looks names up among the stand-ins; imports nothing."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: _Bytes, size: int, where: str) -> None:
        super().__init__(file)
        self._where = where
        self._globals = _globals(_Allowance(size))

    def _bytearray(self) -> None:
        size = int.from_bytes(self.read(8), "little")  # type: ignore[attr-defined]
        self.append(bytearray(self.read(size)))  # type: ignore[attr-defined]

    dispatch[pickle.BYTEARRAY8[0]] = _bytearray

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


class _Allowance:
    """How much the stand-ins may still allocate: a pickle can ask for one copy as often as it likes."""

    def __init__(self, size: int) -> None:
        self._size, self._left = size, _COPIED + _COPIED_PER_BYTE * size

    def spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ValueError(f"{self._size} bytes that make more than {_COPIED_PER_BYTE} times as many")

    def container(self, kind: Callable[..., Any]) -> _Callable:
        """A stand-in for a kind of container."""

        def made(items: Any = ()) -> Any:
            self.spend(_POINTER_BYTES * len(items))
            return kind(items)

        return _Callable(made)

    def copying(self, function: Callable[..., Any]) -> _Callable:
        """A stand-in for a function that may copy any of its arguments."""

        def called(*args: Any) -> Any:
            self.spend(sum(map(_copied_bytes, args)))
            return function(*args)

        return _Callable(called)


def _copied_bytes(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes, bytearray)) else 0


def _globals(allowance: _Allowance) -> dict[tuple[str, str], _Callable]:
    array_type = _Callable(_refuse_call)
    reconstruct = _Callable(lambda subtype, shape, code: _Array(allowance))
    allowed: dict[tuple[str, str], _Callable] = {
        ("numpy", "ndarray"): array_type,
        ("numpy", "dtype"): _Callable(_Dtype),
        ("numpy.core.multiarray", "_reconstruct"): reconstruct,
        ("numpy.core.multiarray", "scalar"): allowance.copying(_scalar),
        ("numpy.core.numeric", "_frombuffer"): allowance.copying(partial(_from_buffer, allowance)),
        ("_codecs", "encode"): allowance.copying(_latin1),
        ("collections", "OrderedDict"): allowance.container(dict),
    }
    for builtins in ("builtins", "__builtin__"):
        allowed[builtins, "bytes"] = _Callable(_no_bytes)
        allowed[builtins, "bytearray"] = allowance.copying(_bytes)
        for container in (set, frozenset, list, tuple, dict):
            allowed[builtins, container.__name__] = allowance.container(container)
    return allowed


def _refuse_call(*args: Any) -> Any:
    raise ValueError("numpy.ndarray called by name")


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
    """Stands for an array until its state arrives; `_Revealed` puts the array in its place."""

    __slots__ = ("_allowance", "value")

    def __init__(self, allowance: _Allowance) -> None:
        self._allowance = allowance
        self.value: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        self._allowance.spend(_POINTER_BYTES * len(data) if isinstance(data, list) else _copied_bytes(data))
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


def _from_buffer(allowance: _Allowance, data: Any, dtype: Any, shape: Any, order: Any, *axes: Any) -> Any:
    found = _Array(allowance)
    if order not in ("C", "F"):
        raise ValueError(f"order {order!r}")
    found.value = _array(shape, dtype, order, data)
    return found


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if not isinstance(dtype, _Dtype) or dtype.value.hasobject:
        raise ValueError("a scalar of no plain dtype")
    return _array((), dtype, "C", data)[()].item()


class _Revealed:
    """Values with every stand-in replaced by its array, at any depth.

    Each is looked at once: one that stands in many places would take for ever otherwise, or holds itself.
    """

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}
        self._tuples: list[tuple[Any, ...]] = []  # alive, lest another value gets the number of one

    def of(self, value: Any) -> Any:
        """`value`, with stand-ins replaced where it holds them."""
        if isinstance(value, (_Dtype, _Callable)):
            raise ValueError("a dtype or a function among the values")
        done = self._done
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
                    flat[place] = self.of(flat[place])
            return array
        if isinstance(value, dict):
            done[id(value)] = value
            for key, item in value.items():
                value[key] = self.of(item)
        elif isinstance(value, list):
            done[id(value)] = value
            value[:] = [self.of(item) for item in value]
        elif isinstance(value, tuple):
            self._tuples.append(value)
            done[id(value)] = tuple(self.of(item) for item in value)
            return done[id(value)]
        return value
