"""No kernel allocates: each compiles without numba's runtime, which has the allocator."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.registry import CPUDispatcher

import rt_engine.kernels


def _kernels() -> list[Any]:
    found = {}
    for module in pkgutil.iter_modules(rt_engine.kernels.__path__):
        loaded = importlib.import_module(f"rt_engine.kernels.{module.name}")
        for name, kernel in vars(loaded).items():
            if isinstance(kernel, CPUDispatcher) and kernel.py_func.__module__ == loaded.__name__:
                found[f"{module.name}.{name}"] = kernel
    return [pytest.param(kernel, id=name) for name, kernel in sorted(found.items())]


def _compile_without_allocator(kernel: Any) -> None:
    """Compile once more; those that were made without the allocator have proved it already."""
    if kernel.targetoptions.get("_nrt") is False:
        return
    signatures = [tuple(signature) for signature in kernel.signatures]
    numba.njit(signatures, nogil=True, _nrt=False)(kernel.py_func)


@pytest.mark.parametrize("kernel", _kernels())
def test_every_kernel_compiles_without_an_allocator(kernel: Any) -> None:
    _compile_without_allocator(kernel)


def test_a_kernel_that_makes_an_array_does_not() -> None:
    @numba.njit([numba.float64(numba.int64)])
    def makes_an_array(n):  # type: ignore[no-untyped-def]
        return np.zeros(n).sum()

    with pytest.raises(numba.core.errors.NumbaError):
        _compile_without_allocator(makes_an_array)
