"""Scanbox: its memory-mapped frame is copied out, and the slot is given back."""
