"""National Instruments cards, through the official `nidaqmx`: what outputs and inputs share."""
