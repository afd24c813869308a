"""What was done to the cells from this window, and its opposite."""

from __future__ import annotations

from typing import Any

_MOST = 50


class EditHistory:
    """Remembers acknowledged edits; `take_undo` gives the commands that take the last one back."""

    def __init__(self) -> None:
        self._undo: list[list[dict[str, Any]]] = []

    @property
    def can_undo(self) -> bool:
        """True if there is something to take back."""
        return bool(self._undo)

    def done(self, args: dict[str, Any], result: dict[str, Any], footprints: dict[int, list[int]]) -> None:
        """Note an edit that the rig has acknowledged.

        Parameters
        ----------
        args : dict
            Of `rois_edit`.
        result : dict
            Its answer; `roi_ids` are cells that it made.
        footprints : dict of int to list of int
            Pixels of the cells that it took away.
        """
        made = [int(one) for one in result.get("roi_ids") or [] if isinstance(one, int)]
        back: list[dict[str, Any]] = []
        match args["action"]:
            case "tag":
                back = [dict(args)]
            case "remove" | "merge":
                back = [{"action": "remove", "roi_ids": made}] if made else []
                back += [{"action": "add", "pixels": pixels} for pixels in footprints.values() if pixels]
            case "add":
                candidate = result.get("candidate_id")
                if made:
                    back = [{"action": "remove", "roi_ids": made}]
                elif candidate is not None:
                    back = [{"action": "reject", "candidate_id": candidate}]
        if back:
            self._undo.append(back)
            del self._undo[:-_MOST]

    def take_undo(self) -> list[dict[str, Any]]:
        """Commands that take the last edit back; it is forgotten."""
        return self._undo.pop() if self._undo else []
