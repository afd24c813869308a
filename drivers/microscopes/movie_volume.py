"""Several planes of one movie file as the frames of a volume, one plane after the other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.movie_file import Movie, open_movie
from rt_engine.interfaces.errors import MovieError


class VolumeMovie:
    """Fulfils `drivers.microscopes.replay.MovieLike`: frame i is volume i // n of plane i modulo n.

    Parameters
    ----------
    movies : sequence of Movie
        One for each plane, of the same file; they are closed with this one.
    """

    def __init__(self, movies: Sequence[Movie]) -> None:
        first = movies[0]
        self._movies = tuple(movies)
        self.n_frames = len(movies) * min(movie.n_frames for movie in movies)
        self.n_lines, self.pixels_per_line, self.dtype = first.n_lines, first.pixels_per_line, first.dtype
        self.frame_rate_hz = None if first.frame_rate_hz is None else first.frame_rate_hz * len(movies)
        self.um_per_px, self.adc_max = first.um_per_px, first.adc_max

    def require_frame_rate(self) -> float:
        """Frames per second, of all planes together; raises MovieError if unknown."""
        return self._movies[0].require_frame_rate() * len(self._movies)

    def read(self, index: int) -> NDArray[np.uint16 | np.int16]:
        """Frame `index`; raises MovieError."""
        volume, position = divmod(index, len(self._movies))
        return self._movies[position].read(volume)

    def close(self) -> None:
        """Release the file; may be repeated."""
        for movie in self._movies:
            movie.close()


def open_volume(path: Path | str, planes: Sequence[int], **asked: Any) -> Movie | VolumeMovie:
    """Open the planes of a movie; `asked` as `open_movie` takes it, without `plane`.

    Raises
    ------
    MovieError
        As `open_movie`; or the planes are of different size.
    """
    with ExitStack() as undo:
        movies = [undo.enter_context(open_movie(path, plane=plane, **asked)) for plane in planes]
        if len({movie.n_lines for movie in movies}) > 1:
            told = ", ".join(f"plane {movie.plane} has {movie.n_lines} lines" for movie in movies)
            raise MovieError(f"has planes of different size: {told}", "name those of one size", file=str(path))
        undo.pop_all()
    return movies[0] if len(movies) == 1 else VolumeMovie(movies)
