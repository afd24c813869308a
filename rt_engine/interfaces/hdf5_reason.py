"""Why HDF5 refused a file, in a few words: its own account is a paragraph of addresses and sizes."""

from __future__ import annotations

import os
import re

_ERRNO = re.compile(r"errno = (\d+)")
_INNER = re.compile(r"\(([^():]+)[:)]")
_PLAIN = {"file signature not found": "it is no HDF5 file", "truncated file": "it is torn: its end is missing"}


def hdf5_reason(error: Exception) -> str:
    """The reason in an error of the operating system, or of HDF5.

    Parameters
    ----------
    error : Exception
        ``OSError`` or ``RuntimeError`` of `h5py`.
    """
    text = str(error)
    if (found := _ERRNO.search(text)) is not None:
        return os.strerror(int(found[1]))
    if isinstance(error, OSError) and error.strerror and "\n" not in error.strerror and "(" not in error.strerror:
        return error.strerror
    inner = _INNER.search(text)
    said = inner[1].strip() if inner is not None else text.partition("\n")[0]
    return _PLAIN.get(said, said)
