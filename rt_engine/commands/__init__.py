"""One module a command: its parser and what it does. Nothing heavy is imported before a command runs."""
