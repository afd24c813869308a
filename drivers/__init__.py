"""Microscopes, outputs and inputs: everything that touches a device, and the virtual rig."""
