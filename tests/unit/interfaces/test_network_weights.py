"""Weights of the network: what is damaged, old or unknown is refused by name."""

import dataclasses
import json

import numpy as np
import pytest
from naive.network import untrained

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.network_weights import (
    ARRAYS,
    SHIPPED,
    find_weights,
    read_weights,
    save_weights,
)


def test_what_was_written_is_read(tmp_path):
    weights = untrained()
    save_weights(tmp_path / "w.npz", weights)
    found = find_weights(str(tmp_path / "w.npz"))
    assert found.digest == weights.digest
    assert all(getattr(found, name).tobytes() == getattr(weights, name).tobytes() for name in ARRAYS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input": None}, "input: is missing"),
        ({"format": np.array("spikeloop-network-0")}, "is not a spikeloop-network-1 file"),
        ({"output_bias": np.zeros(3, np.float32)}, "output_bias: has shape"),
        ({"card": np.array("{}")}, "is damaged"),
        ({"state_bias": np.ones(15, np.float32)}, "is damaged"),
    ],
)
def test_what_is_wrong_is_refused_by_name(tmp_path, change, words):
    path = tmp_path / "w.npz"
    save_weights(path, untrained())
    with np.load(path) as file:
        content = {name: file[name] for name in file.files} | change
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
    with pytest.raises(ConfigError, match=words) as refused:
        read_weights(path)
    assert "w.npz" in refused.value.message
    assert "spikeloop train" in refused.value.remedy


def test_no_file_and_no_npz_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file of weights"):
        find_weights("synthetic-9")
    (tmp_path / "text.npz").write_text("weights")
    with pytest.raises(ConfigError, match=r"is no \.npz file"):
        read_weights(tmp_path / "text.npz")


@pytest.mark.parametrize("name", SHIPPED)
def test_those_shipped_are_what_was_shipped_and_say_what_they_saw(name, tmp_path, monkeypatch):
    weights = find_weights(name)
    card = json.loads(weights.card)
    assert card["name"] == name
    sets = set(card["samples"]) - {"synthetic"}
    assert card["samples"]["synthetic"] > 1_000_000
    if name == "synthetic":
        assert not sets
    else:
        assert len(sets) == 12
        assert card["left_out"] == []
    save_weights(tmp_path / f"{name}.npz", dataclasses.replace(weights, card="{}"))
    monkeypatch.setattr("rt_engine.interfaces.network_weights._SHIPPED_FOLDER", tmp_path)
    with pytest.raises(ConfigError, match="is not the file that was shipped"):
        find_weights(name)
