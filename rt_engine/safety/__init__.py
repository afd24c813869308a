"""Limits, dose ledger and interlock: the only way to an output."""
