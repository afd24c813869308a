"""Compiled kernels: pure functions over the caller's arrays, one method a file."""
