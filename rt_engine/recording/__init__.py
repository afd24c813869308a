"""The session journal: writing it, saving it after a crash, reading it, and what is made of it."""

from rt_engine.recording.reader import Session, open_session

__all__ = ["Session", "open_session"]
