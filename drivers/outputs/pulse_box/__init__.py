"""A microcontroller that makes light pulses and bounds them itself, on a serial port."""
