"""Devices that exist only in a process of their own, and speak their vendor's protocol."""
