"""The published numbers, measured on anyone's machine: ratios in one run, with their ranges."""
