"""The whole loop in real processes, against a bare hop and against a chain of other people's parts."""
