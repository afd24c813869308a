"""The virtual sample: cells, indicator, opsin, optics and motion, with its ground truth."""
