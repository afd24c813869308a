"""The five processes and their supervisor: the only place where parts are wired together."""
