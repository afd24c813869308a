"""spikeloop's engine: reads frames of calcium light, infers spikes, decides, and answers with bounded light."""

__version__ = "0.1.0"
