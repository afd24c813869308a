"""Object arrays in .npy files, such as suite2p writes: read as data, never run.

NumPy stores an array of objects as a pickle, which is a program: loading one may do anything. Here its instructions
are listed by `pickletools.genops`, which runs nothing, and only those that build numbers, text, lists, tuples,
dictionaries and NumPy arrays are understood. Everything else is refused before anything is made of it.
"""

from __future__ import annotations

import io
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_MAX_BYTES = 2**30
_DTYPE = re.compile(r"(b1|[biuf][1248]|f16|O8|O4|[US][0-9]{1,6})")
_NUMPY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_RECONSTRUCT, _SCALAR, _NDARRAY, _DTYPE_CLASS, _ENCODE, _NOT_DATA = range(6)
_NAMES: dict[tuple[str, str], int] = {
    **{(module, "_reconstruct"): _RECONSTRUCT for module in _NUMPY_MODULES},
    **{(module, "scalar"): _SCALAR for module in _NUMPY_MODULES},
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _DTYPE_CLASS,
    ("_codecs", "encode"): _ENCODE,
    ("datetime", "datetime"): _NOT_DATA,
    ("builtins", "slice"): _NOT_DATA,
    **{("pathlib", name): _NOT_DATA for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")},
    **{("pathlib._local", name): _NOT_DATA for name in ("PosixPath", "WindowsPath")},
}
"""What a file may name. Nothing of it is imported or called; `_NOT_DATA` stands for itself and is not looked into."""


class ObjectNpyError(ValueError):
    """The file is torn, no object array, or asks for more than plain data."""


class Unread:
    """Stands where the file holds a date, a path or a slice, which nobody needs."""


class _Name:
    def __init__(self, meaning: int) -> None:
        self.meaning = meaning


class _ArrayInMaking:
    """Becomes an array once its state is known; a dictionary or list may hold it before."""

    def __init__(self) -> None:
        self.value: Any = None


class _DTypeInMaking:
    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "="

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


_MARK = object()


def read_object_npy(path: Path) -> Any:
    """What an object array holds: a list for an array of one axis, the object itself for an array of none.

    Parameters
    ----------
    path : Path

    Returns
    -------
    object
        Numbers, str, bytes, bool, None, list, tuple, dict and ndarray, nested; `Unread` for dates and paths.

    Raises
    ------
    ObjectNpyError
        The file cannot be read, is torn, holds no objects, or asks for more than plain data.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ObjectNpyError(f"{path.stat().st_size} bytes are too many for a table of cells")
        data = path.read_bytes()
        file = io.BytesIO(data)
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    except (OSError, ValueError) as error:
        raise ObjectNpyError(str(error)) from error
    if dtype != np.dtype(object):
        raise ObjectNpyError(f"it holds {dtype}, not objects")
    found = _Reader().run(data[file.tell() :])
    if not isinstance(found, list):
        raise ObjectNpyError("it holds no array of objects")
    return found[0] if shape == () and len(found) == 1 else found


class _Reader:
    """A stack machine for the harmless part of the pickle language."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        try:
            for opcode, argument, _ in pickletools.genops(program):
                if opcode.name == "STOP":
                    return _finished(self._stack.pop(), {})
                act = _ACTIONS.get(opcode.name)
                if act is None:
                    raise ObjectNpyError(f"it holds the instruction {opcode.name}, which plain data does not need")
                act(self, argument)
        except ObjectNpyError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, RecursionError, OverflowError, MemoryError) as error:
            raise ObjectNpyError(f"it is torn or no plain data ({error})") from error
        raise ObjectNpyError("it ends too early")

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def since_mark(self) -> list[Any]:
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ObjectNpyError("it is torn")
        items = self._stack[at + 1 :]
        del self._stack[at:]
        return items

    def tuple_of(self, count: int) -> None:
        items = tuple(self._stack[-count:])
        if len(items) != count:
            raise ObjectNpyError("it is torn")
        del self._stack[-count:]
        self.push(items)

    def append(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise ObjectNpyError("it extends something that is no list")
        self._stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise ObjectNpyError("it fills something that is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int | float | bool | bytes):
                raise ObjectNpyError("it holds a key that is neither text nor number")
            target[key] = value

    def pop_to_set(self, count: int) -> list[Any]:
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def memoize(self, key: int | None) -> None:
        self._memo[len(self._memo) if key is None else key] = self._stack[-1]

    def recall(self, key: int) -> None:
        self.push(self._memo[key])

    def name(self, module: Any, attribute: Any) -> None:
        meaning = _NAMES.get((module, attribute))
        if meaning is None:
            raise ObjectNpyError(f"it wants to call {module}.{attribute}, which is not data")
        self.push(_Name(meaning))

    def stack_global(self) -> None:
        attribute, module = self._stack.pop(), self._stack.pop()
        self.name(module, attribute)

    def reduce(self) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        if type(called) is not _Name or type(arguments) is not tuple:
            raise ObjectNpyError("it wants to call something that is not data")
        self.push(_made(called.meaning, arguments))

    def build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if type(target) is _DTypeInMaking:
            _order(target, state)
        elif type(target) is _ArrayInMaking:
            target.value = _array(state)
        else:
            raise ObjectNpyError("it wants to change something that is no array")


def _made(meaning: int, arguments: tuple[Any, ...]) -> Any:
    if meaning == _RECONSTRUCT:
        return _ArrayInMaking()
    if meaning == _DTYPE_CLASS:
        code = arguments[0]
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise ObjectNpyError(f"it holds an array of {code!r}")
        return _DTypeInMaking(code)
    if meaning == _SCALAR:
        kind, raw = arguments
        if type(kind) is not _DTypeInMaking or kind.code[0] == "O" or not isinstance(raw, bytes):
            raise ObjectNpyError("it holds a number of an unknown kind")
        return np.frombuffer(raw, kind.dtype(), 1)[0]
    if meaning == _ENCODE:
        text, codec = arguments
        if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
            raise ObjectNpyError("it holds text in an unknown code")
        return text.encode("latin-1")
    if meaning == _NOT_DATA:
        return Unread()
    raise ObjectNpyError("it wants to call something that is not data")


def _order(kind: _DTypeInMaking, state: Any) -> None:
    """Byte order of an array's numbers; fields of a record are refused."""
    if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "=") or state[3] or state[4]:
        raise ObjectNpyError("it holds an array of an unknown kind")
    kind.order = state[1]


def _array(state: Any) -> Any:
    """An ndarray, or a list where the elements are objects."""
    _, shape, kind, is_fortran, data = state
    if type(kind) is not _DTypeInMaking or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ObjectNpyError("it holds an array of an unknown kind")
    if kind.code[0] == "O":
        if type(data) is not list:
            raise ObjectNpyError("it holds an array of unknown objects")
        return data
    flat = np.frombuffer(data, kind.dtype())
    return flat.reshape(shape, order="F" if is_fortran else "C")


def _finished(value: Any, done: dict[int, Any]) -> Any:
    """The value with every array in making replaced by the array; what holds itself is refused.

    `done` is by identity, so that what is held a thousand times is made once.
    """
    if type(value) is _ArrayInMaking:
        return _finished(value.value, done)
    if type(value) not in (list, tuple, dict):
        if isinstance(value, _Name | _DTypeInMaking) or value is _MARK:
            raise ObjectNpyError("it holds the name of a function")
        return value
    if id(value) in done:
        if done[id(value)] is _MARK:
            raise ObjectNpyError("it holds itself")
        return done[id(value)]
    done[id(value)] = _MARK
    if type(value) is dict:
        made: Any = {key: _finished(item, done) for key, item in value.items()}
    else:
        made = type(value)([_finished(item, done) for item in value])
    done[id(value)] = made
    return made


_Action = Callable[[_Reader, Any], None]
_PUSHED = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
)
_ACTIONS: dict[str, _Action] = {
    **{name: _Reader.push for name in _PUSHED},
    "PROTO": lambda reader, argument: None,
    "FRAME": lambda reader, argument: None,
    "MARK": lambda reader, argument: reader.push(_MARK),
    "NONE": lambda reader, argument: reader.push(None),
    "NEWTRUE": lambda reader, argument: reader.push(True),
    "NEWFALSE": lambda reader, argument: reader.push(False),
    "EMPTY_LIST": lambda reader, argument: reader.push([]),
    "EMPTY_DICT": lambda reader, argument: reader.push({}),
    "EMPTY_TUPLE": lambda reader, argument: reader.push(()),
    "LIST": lambda reader, argument: reader.push(reader.since_mark()),
    "TUPLE": lambda reader, argument: reader.push(tuple(reader.since_mark())),
    "TUPLE1": lambda reader, argument: reader.tuple_of(1),
    "TUPLE2": lambda reader, argument: reader.tuple_of(2),
    "TUPLE3": lambda reader, argument: reader.tuple_of(3),
    "APPEND": lambda reader, argument: reader.append(reader.pop_to_set(1)),
    "APPENDS": lambda reader, argument: reader.append(reader.since_mark()),
    "SETITEM": lambda reader, argument: reader.set_items(reader.pop_to_set(2)),
    "SETITEMS": lambda reader, argument: reader.set_items(reader.since_mark()),
    "MEMOIZE": lambda reader, argument: reader.memoize(None),
    "PUT": lambda reader, argument: reader.memoize(argument),
    "BINPUT": lambda reader, argument: reader.memoize(argument),
    "LONG_BINPUT": lambda reader, argument: reader.memoize(argument),
    "GET": lambda reader, argument: reader.recall(argument),
    "BINGET": lambda reader, argument: reader.recall(argument),
    "LONG_BINGET": lambda reader, argument: reader.recall(argument),
    "GLOBAL": lambda reader, argument: reader.name(*str(argument).split(" ", 1)),
    "STACK_GLOBAL": lambda reader, argument: reader.stack_global(),
    "REDUCE": lambda reader, argument: reader.reduce(),
    "BUILD": lambda reader, argument: reader.build(),
}
