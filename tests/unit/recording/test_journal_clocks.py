"""Times of a session of several computers, read in one clock."""

from __future__ import annotations

from pathlib import Path

import yaml
from wire_samples import stim

from rt_engine.interfaces.messages import ClockHeader, Header, StimHeader, encode
from rt_engine.recording import open_session
from rt_engine.recording.journal import JournalWriter

COMMON = {"host": "h", "boot_id": "b", "t_sent_ns": 0}
PORTS = {"host": "10.0.0.1", "hosts": {"stimulation": "10.0.0.4"}}


def clock(seq: int, offset_ns: int) -> ClockHeader:
    figures = {"offset_ns": offset_ns, "uncertainty_ns": 5, "t_measured_ns": 0}
    return ClockHeader(**COMMON, source="supervisor", seq=seq, peer="10.0.0.4", **figures)


def command_at(seq: int, t_ns: int, source: str = "stimulation") -> StimHeader:
    header = stim()[1]
    assert isinstance(header, StimHeader)
    header.source, header.seq, header.t_sent_ns = source, seq, t_ns + 2
    header.t_scan_ns, header.t_command_ns, header.t_output_ns = t_ns, t_ns + 1, None
    return header


def written(folder: Path, ports: dict[str, object], messages: list[tuple[str, Header]]) -> list[StimHeader]:
    (folder / "config.yaml").write_text(yaml.safe_dump({"rig": {"ports": ports}}))
    journal = JournalWriter(folder, 10**18, 0)
    for i, (topic, header) in enumerate(messages):
        journal.write(topic, encode(header), b"", 1000 * i)
    journal.close()
    headers = [message.header for message in open_session(folder).messages("stim")]
    return [one for one in headers if isinstance(one, StimHeader)]


def test_times_are_those_of_the_supervisor_as_its_clock_stood_then(tmp_path: Path) -> None:
    early, first, second, own = written(
        tmp_path,
        PORTS,
        [
            ("stim", command_at(0, 100)),
            ("clock", clock(0, 7000)),
            ("stim", command_at(1, 200)),
            ("clock", clock(1, 7010)),
            ("stim", command_at(2, 300)),
            ("stim", command_at(0, 400, "supervisor")),
        ],
    )
    assert (early.t_scan_ns, early.t_command_ns, early.t_sent_ns, early.t_output_ns) == (7100, 7101, 7102, None)
    assert first.t_scan_ns == 7200
    assert second.t_scan_ns == 7310
    assert own.t_scan_ns == 400


def test_on_one_computer_they_are_as_they_were_sent(tmp_path: Path) -> None:
    (one,) = written(tmp_path, {"host": "10.0.0.1"}, [("clock", clock(0, 7000)), ("stim", command_at(0, 100))])
    assert one.t_scan_ns == 100
