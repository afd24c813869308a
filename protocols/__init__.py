"""Experiment protocols: what is a trigger, what follows from it, and in which design."""
