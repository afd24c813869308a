"""What may happen to those who only look or write, in the middle of a run, and what must not touch the others."""

from __future__ import annotations

from enum import StrEnum


class Harm(StrEnum):
    """Done to one process when a round begins, and made good when it has ended.

    A process that hangs is suspended: it keeps its connections and takes nothing. A recorder that is silent for 2 s
    trips the interlock, so that a round has to be shorter.
    """

    SUBSCRIBER_HANGS = "a subscriber hangs"
    SUBSCRIBER_KILLED = "a subscriber is killed"
    RECORDER_HANGS = "the recorder hangs"
    RECORDER_KILLED = "the recorder is killed"

    @property
    def kills(self) -> bool:
        """True if the process does not come back by itself."""
        return self in (Harm.SUBSCRIBER_KILLED, Harm.RECORDER_KILLED)

    @property
    def is_of_recorder(self) -> bool:
        """True for the recorder, else it is the first of the subscribers."""
        return self in (Harm.RECORDER_HANGS, Harm.RECORDER_KILLED)
