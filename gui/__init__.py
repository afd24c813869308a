"""The window: a process of its own that sees only messages. It may start late, die, run twice, run elsewhere."""
