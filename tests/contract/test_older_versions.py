"""What an older version wrote is read, or refused in a sentence that names file, key and remedy."""

from __future__ import annotations

import json
import lzma
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import synthetic_session
import yaml

from protocols.load import load_protocol
from rt_engine.cli import main
from rt_engine.interfaces.errors import ConfigError, RecordingError
from rt_engine.interfaces.messages import Header, encode
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.recording import open_session

FIRST_RIG = """
schema_version: 1
name: first
microscope: {driver: virtual}
outputs:
  led:
    driver: virtual
    watchdog_ms: 1000.0
    limits: {max_power_mw: 20.0, max_width_ms: 10.0, max_rate_hz: 10.0, max_duty: 0.05, duty_window_s: 10.0,
             max_energy_per_target_mj: 20.0, energy_window_s: 60.0, max_total_energy_mj: 10000.0, min_gap_ms: 100.0,
             target_refractory_ms: 100.0, max_decision_age_ms: 50.0, max_refused_per_min: 120,
             allowed_phases: [live], exclusion_zones: []}
session_limits: {max_energy_mj: 10000.0, max_pulses: 100000}
"""
"""Everything that version 1 ever required; a file that has it must load for as long as there is version 1."""
BEFORE_ALL_LIMITS = """
schema_version: 1
name: before
microscope: {driver: virtual}
outputs:
  led:
    driver: virtual
    limits: {max_power_mw: 20.0, max_width_ms: 10.0, max_rate_hz: 10.0, max_duty: 0.05, duty_window_s: 10.0,
             max_energy_per_target_mj: 20.0, energy_window_s: 60.0, max_total_energy_mj: 10000.0, min_gap_ms: 100.0,
             max_decision_age_ms: 50.0, exclusion_zones: []}
"""
"""As of 22 November 2026, before light had all its limits. Limits have no defaults: whoever lights writes them."""


def _as_the_first(header: Header) -> bytes:
    """The header as the first program of wire version 1 would have sent it: without every key that came later."""
    required = {field.name for field in msgspec.structs.fields(header) if field.required}
    kept = {"v", "session", *required}
    return msgspec.msgpack.encode(
        {name: value for name, value in msgspec.structs.asdict(header).items() if name in kept}
    )


def _of_the_future(header: Header) -> bytes:
    return encode(msgspec.structs.replace(header, v=2))


def test_the_first_rig_file_loads(tmp_path: Path) -> None:
    path = tmp_path / "rig.yaml"
    path.write_text(FIRST_RIG, encoding="utf-8")
    rig = load_rig(path)
    assert (rig.name, rig.keys, rig.mqtt, rig.metrics) == ("first", None, None, None)


def test_a_rig_file_from_before_all_limits_of_light_is_refused_with_all_that_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "rig.yaml"
    path.write_text(BEFORE_ALL_LIMITS, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_rig(path)
    told = str(refused.value)
    assert str(path) in told
    lacks = ("watchdog_ms", "limits.target_refractory_ms", "limits.max_refused_per_min", "limits.allowed_phases")
    for key in (*(f"outputs.led.{name}" for name in lacks), "session_limits"):
        assert key in told


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_rig_file_of_another_version_is_refused_by_name_and_key(version: Any, tmp_path: Path) -> None:
    path = tmp_path / "rig.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(FIRST_RIG) | {"schema_version": version}), encoding="utf-8")
    with pytest.raises(ConfigError, match="schema_version: input should be 1") as refused:
        load_rig(path)
    assert str(path) in str(refused.value)


def test_a_protocol_of_version_1_says_where_version_2_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "protocol.yaml"
    path.write_text("schema_version: 1\nkind: spike_triggered\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"no longer read.*version 2"):
        load_protocol(path)


def test_a_journal_of_the_first_program_is_read_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic_session.make_rich_session(tmp_path / "now", n_frames=300)
    monkeypatch.setattr(synthetic_session, "encode", _as_the_first)
    synthetic_session.make_rich_session(tmp_path / "first", n_frames=300)
    now, first = open_session(tmp_path / "now"), open_session(tmp_path / "first")
    assert first.is_complete
    assert len(first.events()) > 0
    assert (first.events() == now.events()).all()
    assert main(["report", str(tmp_path / "first")]) == 0
    assert (tmp_path / "first" / "report.html").is_file()


def test_a_journal_of_a_later_wire_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic_session, "encode", _of_the_future)
    synthetic_session.make_rich_session(tmp_path / "later", n_frames=20)
    with pytest.raises(RecordingError, match="wire version 2, this program reads 1"):
        open_session(tmp_path / "later")
    assert main(["report", str(tmp_path / "later")]) != 0


TOPICS_OF_OLD = ("health", "state", "session", "rois", "log", "truth", "spikes", "activity", "stim")
OLD = Path(__file__).parents[1] / "data" / "session_of_22_november"


@pytest.fixture
def old_session(tmp_path: Path) -> Path:
    """What the program of that day wrote (see `tests/data/README.md`); no line of it passed through today's writer."""
    folder = tmp_path / "session"
    folder.mkdir()
    for name in ("config.yaml", "summary.json"):
        shutil.copyfile(OLD / name, folder / name)
    with lzma.open(OLD / "session_000.mcap.xz") as packed:
        (folder / "session_000.mcap").write_bytes(packed.read())
    return folder


def test_a_session_that_an_older_program_wrote_is_read_as_that_program_summed_it_up(old_session: Path) -> None:
    told = json.loads((OLD / "summary.json").read_text(encoding="utf-8"))
    session = open_session(old_session)
    assert session.is_complete
    counts = Counter(topic for topic in TOPICS_OF_OLD for _ in session.messages(topic))
    recorded = {topic.partition(".")[0]: n for topic, n in told["journal"]["messages"].items()}
    assert counts == {topic: recorded[topic] for topic in TOPICS_OF_OLD}
    assert len(session.events()) == told["spikes"] > 0
    stim = [message.header for message in session.messages("stim")]
    suppressed = [one for one in stim if one.outcome == "suppressed"]  # type: ignore[attr-defined]
    assert len(suppressed) == told["stim"]["suppressed"] > 0


def test_it_is_reported_and_exported(old_session: Path, tmp_path: Path) -> None:
    assert main(["report", str(old_session)]) == 0
    assert (old_session / "report.html").is_file()
    pytest.importorskip("pynwb", reason="needs the extra nwb")
    assert main(["export", str(old_session), "-o", str(tmp_path / "old.nwb"), "--frames", "none"]) == 0


def test_its_rig_is_refused_with_the_limits_that_it_lacks(
    old_session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Light has no defaults: neither a run nor a replay of that day goes on with limits that somebody guessed."""
    with pytest.raises(ConfigError) as refused:
        load_rig(OLD / "rig.yaml")
    assert main(["replay", str(old_session), "--output", str(tmp_path / "replay")]) == 2
    said = capsys.readouterr().err
    for key in ("outputs.led.watchdog_ms", "outputs.led.limits.target_refractory_ms", "session_limits"):
        assert key in str(refused.value)
        assert key in said
    assert not (tmp_path / "replay").exists()
