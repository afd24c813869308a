"""Writing into the memory of another process, as Prairie View does; for its simulator alone."""

from __future__ import annotations

import ctypes
import os
import sys


class _Span(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("n_bytes", ctypes.c_size_t)]


def write_into(process_id: int, address: int, data: bytes) -> None:
    """Copy `data` to an address of a process of the same person.

    Raises
    ------
    OSError
        The system refuses, or this system has no such call.
    """
    if process_id == os.getpid():
        ctypes.memmove(address, data, len(data))
    elif sys.platform == "win32":
        _write_on_windows(process_id, address, data)
    elif sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        here = _Span(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data))
        there = _Span(address, len(data))
        n = libc.process_vm_writev(process_id, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        if n != len(data):
            raise OSError(ctypes.get_errno(), f"process {process_id} lets nobody write into its memory")
    else:
        raise OSError("this system has no call to write into another process")


def _write_on_windows(process_id: int, address: int, data: bytes) -> None:
    windll = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    windll.OpenProcess.restype = ctypes.c_void_p
    handle = windll.OpenProcess(0x0028, False, process_id)  # PROCESS_VM_OPERATION, PROCESS_VM_WRITE
    if not handle:
        raise OSError(f"process {process_id} cannot be opened")
    try:
        arguments = (ctypes.c_void_p(handle), ctypes.c_void_p(address), data, ctypes.c_size_t(len(data)), None)
        if not windll.WriteProcessMemory(*arguments):
            raise OSError(f"process {process_id} lets nobody write into its memory")
    finally:
        windll.CloseHandle(ctypes.c_void_p(handle))
