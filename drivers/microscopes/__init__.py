"""Microscope drivers: each fills a buffer it is handed with scanned lines."""
