"""A protocol at work: compiled once into objects over preallocated arrays, then driven by messages."""
