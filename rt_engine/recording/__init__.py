"""The session journal: writing, reading, recovery, summary and report."""
