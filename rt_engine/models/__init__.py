"""Offline and generative models: indicators, noise, calibration, the forward model of the sample."""
