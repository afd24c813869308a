"""Input drivers: clocks, loop-back and behaviour lines."""
