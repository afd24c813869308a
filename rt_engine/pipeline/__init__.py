"""Stages that own arrays and call kernels, and the engine that runs them frame by frame."""
