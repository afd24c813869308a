"""Cells that the user brings, one module a file format."""
