"""Cameras of Micro-Manager."""
