"""What is wrong with a file that should have held arrays, in words that advise nothing dangerous."""

from __future__ import annotations


def why_unreadable(error: Exception) -> str:
    """NumPy's reason; but where it advises to allow pickles, which run whatever is in them, that it is no such file."""
    text = str(error)
    return "it is no file of NumPy, or holds objects instead of numbers" if "pickle" in text else text
