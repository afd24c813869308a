"""Object arrays are read as data; whatever would run something, or is no data, is refused and not run."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.microscopes.object_npy import ObjectNpyError, Unread, read_object_npy

MARK_FILE = "it-ran"


def header(shape: tuple[int, ...] = (1,)) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|O", "fortran_order": False, "shape": shape})
    return out.getvalue()


def stat(n: int = 3, dtype: str = "<i4") -> np.ndarray[Any, Any]:
    return np.array(
        [
            {
                "ypix": np.arange(5 + k, dtype=dtype), "xpix": np.arange(5 + k), "lam": np.full(5 + k, 0.5, np.float32),
                "med": [np.int64(k), 2], "overlap": np.zeros(5 + k, bool), "npix": np.int64(5 + k), "radius": 2.5,
                "neuropil_mask": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "tag": "soma", "none": None,
                "names": np.array(["a", "bc"]), "big": 2**70, "pair": (1, "x", b"y"), "ok": np.bool_(True),
            }
            for k in range(n)
        ],
        dtype=object,
    )  # fmt: skip


def same(found: Any, planted: Any) -> None:
    if isinstance(planted, np.ndarray):
        assert found.dtype == planted.dtype
        np.testing.assert_array_equal(found, planted)
    elif isinstance(planted, dict):
        assert found.keys() == planted.keys()
        for key in planted:
            same(found[key], planted[key])
    elif isinstance(planted, list | tuple):
        assert type(found) is type(planted)
        assert len(found) == len(planted)
        for one, other in zip(found, planted, strict=True):
            same(one, other)
    else:
        assert type(found) is type(planted)
        assert found == planted


@pytest.mark.parametrize("dtype", ["<i4", ">i4", "<i8", "<u2"])
def test_what_numpy_wrote_comes_back_with_types_and_byte_order(tmp_path: Path, dtype: str) -> None:
    planted = stat(dtype=dtype)
    np.save(tmp_path / "stat.npy", planted)
    same(read_object_npy(tmp_path / "stat.npy"), planted.tolist())


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_every_version_of_numpy_and_of_the_format_is_read(tmp_path: Path, protocol: int, module: str) -> None:
    program = pickle.dumps(stat(), protocol=protocol)
    other = "numpy.core.multiarray" if "_core" in module else "numpy._core.multiarray"
    if protocol < 4:  # from protocol 4 on names carry their length
        program = program.replace(other.encode(), module.encode())
    (tmp_path / "s.npy").write_bytes(header((3,)) + program)
    same(read_object_npy(tmp_path / "s.npy"), stat().tolist())


def test_a_dictionary_saved_alone_comes_back_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "ops.npy", {"Ly": 5, "where": Path("/x"), "cut": slice(1, 2)})  # type: ignore[arg-type]
    found = read_object_npy(tmp_path / "ops.npy")
    assert found["Ly"] == 5
    assert isinstance(found["where"], Unread)
    assert isinstance(found["cut"], Unread)


class Calls:
    def __init__(self, called: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self.parts = (called, arguments) if state is None else (called, arguments, state)

    def __reduce__(self) -> Any:
        return self.parts


MALICIOUS: dict[str, Callable[[str], Any]] = {
    "system": lambda mark: Calls(os.system, f"touch {mark}"),
    "open": lambda mark: Calls(open, mark, "w"),
    "eval": lambda mark: Calls(eval, f"open({mark!r}, 'w')"),
    "exec": lambda mark: Calls(exec, f"open({mark!r}, 'w')"),
    "getattr": lambda mark: Calls(getattr, os, "system"),
    "import": lambda mark: Calls(__import__, "os"),
    "load": lambda mark: Calls(np.load, mark),
    "a function alone": lambda mark: os.system,
    "a class": lambda mark: io.StringIO,
    "an object": lambda mark: Calls,
    "a set": lambda mark: {1, 2},
    "a complex": lambda mark: 1j,
    "a record array": lambda mark: np.zeros(2, [("a", "i4"), ("b", "O")]),
    "a date array": lambda mark: np.zeros(2, "M8[s]"),
}


@pytest.mark.parametrize("kind", MALICIOUS)
@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("where", ["whole", "inside"])
def test_what_would_run_something_or_is_no_data_is_refused_and_not_run(
    tmp_path: Path, kind: str, protocol: int, where: str
) -> None:
    mark = tmp_path / MARK_FILE
    bad = MALICIOUS[kind](str(mark))
    content = bad if where == "whole" else np.array([{"ypix": np.arange(3), "evil": bad}], dtype=object)
    try:
        program = pickle.dumps(content, protocol=protocol)
    except (pickle.PicklingError, TypeError):
        pytest.skip("cannot be pickled at all")
    (tmp_path / "s.npy").write_bytes(header() + program)
    with pytest.raises(ObjectNpyError):
        read_object_npy(tmp_path / "s.npy")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (b"cos\nsystem\n(S'touch it-ran'\ntR.", "os.system"),
        (b"(S'touch it-ran'\nios\nsystem\n.", "INST|STRING"),
        (b"(cos\nsystem\nS'touch it-ran'\no.", "os.system|OBJ"),
        (b"\x80\x02cposix\nsystem\nq\x00X\x02\x00\x00\x00ls\x85R.", "posix.system"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "NEWOBJ"),
        (b"\x80\x02cnumpy\nndarray\n)R.", "not data"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.", "os.system"),
        (b"\x80\x04]\x94h\x00a.", "itself"),
        (b"\x80\x02K\x01K\x02R.", "not data"),
        (b"\x80\x02}K\x01b.", "no array"),
        (b"\x80\x02]}K\x01s.", "."),
        (b"\x80\x02]h\x07.", "torn"),
        (b"\x80\x02t.", "torn"),
        (b"\x80\x02].trailing", ""),
        (b"", "torn|early"),
        (b"\x80\x02]", "torn|early"),
        (b"P12\n.", "PERSID"),
        (b"\x82\x01.", "EXT1|torn"),
    ],
)
def test_programs_made_by_hand_are_refused(tmp_path: Path, program: bytes, reason: str) -> None:
    (tmp_path / "s.npy").write_bytes(header() + program)
    if not reason:
        assert read_object_npy(tmp_path / "s.npy") == []
        return
    with pytest.raises(ObjectNpyError, match=reason):
        read_object_npy(tmp_path / "s.npy")


def test_a_list_that_doubles_a_hundred_times_costs_no_memory(tmp_path: Path) -> None:
    twice_the_last = (b"]q%c(h%ch%ce" % (k, k - 1, k - 1) for k in range(1, 100))
    program = b"\x80\x02]q\x00" + b"".join(twice_the_last) + b"."
    (tmp_path / "s.npy").write_bytes(header() + program)
    assert len(read_object_npy(tmp_path / "s.npy")) == 2


def test_an_array_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    good = np.array([{"a": np.arange(4, dtype="<i4")}], dtype=object)
    program = pickle.dumps(good, protocol=4)
    assert b"K\x04\x85" in program
    (tmp_path / "s.npy").write_bytes(header() + program.replace(b"K\x04\x85", b"K\x05\x85"))
    with pytest.raises(ObjectNpyError):
        read_object_npy(tmp_path / "s.npy")


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_what_is_no_npy_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.npy").write_bytes(content)
    with pytest.raises(ObjectNpyError):
        read_object_npy(tmp_path / "s.npy")


def test_numbers_and_missing_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "n.npy", np.arange(3))
    with pytest.raises(ObjectNpyError, match="not objects"):
        read_object_npy(tmp_path / "n.npy")
    with pytest.raises(ObjectNpyError):
        read_object_npy(tmp_path / "missing.npy")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "s.npy"
    np.save(path, stat(2))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(100, len(content)))])
    with contextlib.suppress(ObjectNpyError):
        read_object_npy(path)
