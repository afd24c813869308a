"""Microscopes that exist only in a process of their own, and speak as their vendor's side does."""
