"""How kernels are compiled."""

from __future__ import annotations

from typing import Any

NO_ALLOCATION: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "_nrt": False}
"""For kernels of the frame loop: without numba's runtime (`_nrt`) nothing counts references in the loops (twice as fast
where a kernel calls another), and a kernel that allocates does not compile."""
