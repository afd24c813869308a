"""Weights of the causal network: one file of plain arrays, with a digest that is checked when it is read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.numpy_files import why_unreadable

FORMAT = "spikeloop-network-1"
HOLDS = (0, 1, 2, 3, 5)
"""Frames between a spike and the decision that the network answers for, all at once."""
HEADS = ("odds", "rate", "count", "dispersion")
"""What it tells for each hold, head after head; see `kernels.network`."""
N_INPUTS = 14
N_HIDDEN, N_MIDDLE = 24, 16
"""Of the networks that `spikeloop train` makes."""
SHIPPED = {
    "synthetic+real": "406152a7f42a9479e321f2d2f1fca16a7a49c792b2f77d9db5698312b94714bb",
    "synthetic": "6ab1531f19af816d592f77ce08b00f0cb4559803f752f6227b36e8d1568bfb41",
}
"""Weights that come with spikeloop, and their digests; what they saw stands in ``network_weights/CARD.md``."""
_SHIPPED_FOLDER = Path(__file__).resolve().parents[1] / "network_weights"
_REMEDY = f"name shipped weights ({', '.join(SHIPPED)}), or a file that `spikeloop train` wrote"

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkWeights:
    """A gated recurrent unit and two layers after it.

    Attributes
    ----------
    input, state : float32 ndarray, shape (3 n_hidden, N_INPUTS) and (3 n_hidden, n_hidden)
        Rows: reset gate, update gate, candidate.
    input_bias, state_bias : float32 ndarray, shape (3 n_hidden,)
    middle, middle_bias : float32 ndarray, shape (n_middle, n_hidden + N_INPUTS) and (n_middle,)
    output, output_bias : float32 ndarray, shape (len(HEADS) len(HOLDS), n_middle) and (len(HEADS) len(HOLDS),)
    card : str
        JSON: what the weights were trained on, how, and when.
    """

    input: Matrix
    state: Matrix
    input_bias: Matrix
    state_bias: Matrix
    middle: Matrix
    middle_bias: Matrix
    output: Matrix
    output_bias: Matrix
    card: str

    @property
    def n_hidden(self) -> int:
        """Units that remember."""
        return len(self.state_bias) // 3

    @property
    def digest(self) -> str:
        """SHA-256 of all arrays and of the card."""
        told = hashlib.sha256(FORMAT.encode())
        for name in ARRAYS:
            array = getattr(self, name)
            told.update(f"{name}{array.shape}".encode())
            told.update(np.ascontiguousarray(array, "<f4").tobytes())
        told.update(self.card.encode())
        return told.hexdigest()


ARRAYS = tuple(field.name for field in fields(NetworkWeights) if field.name != "card")


def _shapes(n_hidden: int, n_middle: int) -> dict[str, tuple[int, ...]]:
    n_out = len(HEADS) * len(HOLDS)
    return {
        "input": (3 * n_hidden, N_INPUTS),
        "state": (3 * n_hidden, n_hidden),
        "input_bias": (3 * n_hidden,),
        "state_bias": (3 * n_hidden,),
        "middle": (n_middle, n_hidden + N_INPUTS),
        "middle_bias": (n_middle,),
        "output": (n_out, n_middle),
        "output_bias": (n_out,),
    }


def random_weights(n_hidden: int, n_middle: int, seed: int, scale: float) -> NetworkWeights:
    """Weights that nobody trained, normal with standard deviation `scale`: for benchmarks, tests and a beginning."""
    rng = np.random.default_rng(seed)
    arrays = {
        name: (scale * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in _shapes(n_hidden, n_middle).items()
    }
    return NetworkWeights(**arrays, card='{"name": "random"}')


def save_weights(path: Path, weights: NetworkWeights) -> None:
    """Write weights and their digest to exactly `path`."""
    arrays: dict[str, Any] = {name: getattr(weights, name) for name in ARRAYS}
    with path.open("wb") as file:
        np.savez(file, format=FORMAT, digest=weights.digest, card=weights.card, **arrays)


def read_weights(path: Path) -> NetworkWeights:
    """Weights of a file.

    Raises
    ------
    ConfigError
        No such file, none of weights, of another version, or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise ConfigError(f"is no .npz file of weights ({why_unreadable(error)})", _REMEDY, file=str(path)) from error
    if str(content.get("format")) != FORMAT:
        raise ConfigError(f"is not a {FORMAT} file", _REMEDY, file=str(path))
    missing = [name for name in (*ARRAYS, "card", "digest") if name not in content]
    if missing:
        raise ConfigError("is missing", _REMEDY, file=str(path), key=missing[0])
    arrays = {name: np.ascontiguousarray(content[name], np.float32) for name in ARRAYS}
    for name, shape in _shapes(len(arrays["state_bias"]) // 3, len(arrays["middle_bias"])).items():
        if arrays[name].shape != shape:
            raise ConfigError(f"has shape {arrays[name].shape}, not {shape}", _REMEDY, file=str(path), key=name)
    weights = NetworkWeights(**arrays, card=str(content["card"]))
    if weights.digest != str(content["digest"]):
        raise ConfigError("is damaged: its digest does not fit its content", _REMEDY, file=str(path))
    return weights


def find_weights(name_or_path: str) -> NetworkWeights:
    """Weights by the name of shipped ones, or by path.

    Raises
    ------
    ConfigError
        There is no such file, or it is not what it should be.
    """
    if name_or_path in SHIPPED:
        path = _SHIPPED_FOLDER / f"{name_or_path}.npz"
        weights = read_weights(path)
        if weights.digest != SHIPPED[name_or_path]:
            raise ConfigError("is not the file that was shipped", "install spikeloop again", file=str(path))
        return weights
    if not Path(name_or_path).is_file():
        raise ConfigError("there is no such file of weights", _REMEDY, file=name_or_path)
    return read_weights(Path(name_or_path))
