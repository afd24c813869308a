"""The live window: a process of its own that sees only messages."""
