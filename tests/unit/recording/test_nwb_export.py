"""What `pynwb` alone reads back is what the journal holds; the inspector has nothing against it."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from nwbinspector import Importance, inspect_nwbfile
from pynwb import NWBHDF5IO
from synthetic_session import MS, T_MONO_NS, SessionMaker, make_calibration

from rt_engine.interfaces.errors import RecordingError
from rt_engine.interfaces.messages import LogHeader, RoiDescription, RoisHeader, SyncHeader
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.shipped import find_rig
from rt_engine.recording import open_session
from rt_engine.recording.nwb_export import Frames, NwbPlan, export_nwb

pytestmark = pytest.mark.filterwarnings("ignore")  # of hdmf and ndx, about their own deprecations
N, SIZE, ROI_IDS = 700, 24, (7, 9)
CONFIG = {
    "rig": {
        "microscope": {"driver": "virtual"},
        "outputs": {"led": {"driver": "virtual"}},
        "animal": {
            "species": "Mus musculus",
            "sex": "F",
            "age": "P90D",
            "description": "trained",
            "weight_kg": 0.02,
            "opsin": "ChRmine",
        },
        "experiment": {
            "experimenter": ["Lovelace, Ada"],
            "institution": "University of Examples",
            "lab": "Lab of Loops",
        },
        "optics": {
            "excitation_nm": 920.0,
            "emission_nm": 513.0,
            "stimulation_nm": 1040.0,
            "location": "Primary visual area",
        },
    }
}


def pixels(frame: int) -> np.ndarray:
    return (np.arange(SIZE * (SIZE + 2)).reshape(SIZE, SIZE + 2) * 3 + frame).astype("<u2")


def values(frame: int) -> np.ndarray:
    out = np.arange(16, dtype=np.float32).reshape(8, 2) + frame
    if frame % 50 == 0:
        out[:, 1] = np.nan
    return out


def record(folder: Path, n: int = N, size: int = SIZE) -> Path:
    maker = SessionMaker(folder)
    maker.session()
    make_calibration(folder / "calibration.h5", [(8, 8), (16, 14)], ROI_IDS, size=SIZE)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    for frame in range(n):
        big = np.zeros((size, size), "<u2") if size != SIZE else pixels(frame)
        maker.frame(frame, big)
        maker.spikes(frame, [(7, frame - 2)] if frame % 100 == 50 else [], decide_ms=2.0)
        maker.activity(frame, values(frame))
        if frame % 100 == 50:
            maker.stim(f"d{frame}", frame, "delivered" if frame % 200 == 50 else "withheld", (7,), (9,), command_ms=3.0)
            maker.light(maker.scan_ns(frame) + 3 * MS, [[16.0, 14.0]])
    maker.stim("odd", 5, "refused", (7,), (9,))
    for t_ms, edge in ((10, "rising"), (14, "falling")):
        maker.send(
            "sync", SyncHeader, "acquisition", line="lick", kind="edge", t_edge_ns=T_MONO_NS + t_ms * MS, edge=edge,
            t_first_ns=None, sample_rate_hz=None, dtype=None,
        )  # fmt: skip
    maker.send("log", LogHeader, "supervisor", level="mark", text="grooming", fields={})
    maker.close()
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nwb")
    record(folder / "session")
    stages = []
    plan = NwbPlan(folder / "x.nwb")
    export_nwb(open_session(folder / "session"), plan, lambda stage, done: stages.append((stage, done)))
    assert ("frames of plane 0", 1.0) in stages
    assert list(folder.glob("*.partial*")) == []
    return plan.target


@pytest.fixture
def nwb(exported: Path):
    with NWBHDF5IO(exported, "r") as file:
        yield file.read()


def test_frames_come_back_with_axes_x_y_and_their_times(nwb) -> None:
    series = nwb.acquisition["TwoPhotonSeries0"]
    assert series.data.shape == (N, SIZE + 2, SIZE)
    for frame in (0, 1, N - 1):
        np.testing.assert_array_equal(series.data[frame].T, pixels(frame))
    assert series.rate == pytest.approx(25.0)
    assert series.starting_time == pytest.approx(0.04)
    plane = series.imaging_plane
    assert (plane.excitation_lambda, plane.indicator, plane.location) == (920.0, "jGCaMP8m", "Primary visual area")
    assert plane.optical_channel[0].emission_lambda == 513.0


def test_cells_and_traces_come_back(nwb) -> None:
    ophys = nwb.processing["ophys"]
    cells = ophys["ImageSegmentation"]["PlaneSegmentation0"]
    assert tuple(cells.id[:]) == ROI_IDS
    mask = {(x, y) for x, y, _ in cells["pixel_mask"][0]}
    assert (8, 8) in mask
    assert all((x - 8) ** 2 + (y - 8) ** 2 <= 9 for x, y in mask)
    expected = np.stack([values(frame) for frame in range(N)])
    for name, row in (("fluorescence", 0), ("neuropil", 1), ("spike_rate", 4), ("spike_probability", 6)):
        series = ophys["Fluorescence0"][name]
        np.testing.assert_array_equal(series.data[:], expected[:, row])
        assert series.rois.table is cells
    np.testing.assert_array_equal(ophys["DfOverF0"]["dff"].data[:], expected[:, 2])


def test_events_know_when_they_were_and_when_they_were_known(nwb) -> None:
    table = nwb.processing["ophys"]["SpikeEvents0"]
    frames = np.arange(50, N, 100)
    np.testing.assert_array_equal(table["decided_frame"][:], frames)
    np.testing.assert_array_equal(table["event_frame"][:], frames - 2)
    np.testing.assert_allclose(table["spike_time"][:], (frames - 1) / 25, atol=1e-9)
    np.testing.assert_allclose(table["decision_time"][:], (frames + 1) / 25 + 0.002, atol=1e-9)
    np.testing.assert_array_equal(table["roi"].data[:], 0)
    assert table["probability"][0] == np.float32(0.99)


def test_every_decision_pulse_and_trial_is_there(nwb) -> None:
    events = nwb.intervals["stimulation_events"].to_dataframe()
    assert events["outcome"].value_counts().to_dict() == {"delivered": 4, "withheld": 3, "refused": 1}
    assert (events.iloc[0]["decision_id"], events.iloc[0]["outcome"]) == ("odd", "refused")
    first = events.iloc[1]
    assert (first["decision_id"], first["arm"], first["trigger_frame"]) == ("d50", "stim", 50)
    assert first["scan_to_command_ms"] == pytest.approx(3.0)
    assert json.loads(first["power_mw"]) == [8.0]
    assert first["start_time"] == pytest.approx(51 / 25 + 0.003)
    assert len(nwb.trials) == 7
    pulses = nwb.intervals["optogenetic_pulses"].to_dataframe()
    assert len(pulses) == 7
    assert pulses["power_in_mW"].tolist() == [8.0] * 7
    assert json.loads(pulses["targets_yx_px"][0]) == [[16.0, 14.0]]
    assert pulses["decision_id"].tolist() == [f"d{frame}" for frame in range(50, N, 100)]
    assert pulses["outcome"].tolist() == ["delivered", "withheld"] * 3 + ["delivered"]
    assert pulses["arm"].tolist() == ["stim", "withheld"] * 3 + ["stim"]
    np.testing.assert_allclose(pulses["scan_to_command_ms"], 3.0)
    series = nwb.stimulus["OptogeneticSeries_led"]
    np.testing.assert_allclose(series.data[:4], [0.008, 0, 0.008, 0])
    np.testing.assert_allclose(np.diff(series.timestamps[:2]), 0.005)
    meta = nwb.lab_meta_data["optogenetic_experiment_metadata"]
    assert meta.optogenetic_effectors.effectors["effector"].label == "ChRmine"


def test_subject_versions_config_behaviour_and_marks_are_there(nwb) -> None:
    assert (nwb.subject.species, nwb.subject.sex, nwb.subject.age) == ("Mus musculus", "F", "P90D")
    assert tuple(nwb.experimenter) == ("Lovelace, Ada",)
    assert (nwb.institution, nwb.lab) == ("University of Examples", "Lab of Loops")
    assert nwb.experiment_description == nwb.session_description
    assert ["numpy", "2.4"] in [list(pair) for pair in nwb.was_generated_by[:]]
    assert yaml.safe_load(nwb.notes)["rig"] == CONFIG["rig"]
    behaviour = nwb.processing["behavior"]
    np.testing.assert_array_equal(behaviour["lick_edges"].data[:], [1, 0])
    np.testing.assert_allclose(behaviour["lick_edges"].timestamps[:], [0.010, 0.014])
    assert list(behaviour["marks"].data[:]) == ["grooming"]


def test_the_inspector_finds_nothing_critical_and_no_violation(exported: Path) -> None:
    found = list(inspect_nwbfile(nwbfile_path=exported, importance_threshold=Importance.BEST_PRACTICE_VIOLATION))
    assert [f"{one.check_function_name}: {one.message}" for one in found] == []


def test_light_that_no_decision_asked_for_is_told_without_one(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path / "session")
    maker.session()
    make_calibration(tmp_path / "session" / "calibration.h5", [(8, 8)], size=SIZE)
    maker.spikes(5)
    maker.stim("d5", 5, "delivered", (7,), (9,), command_ms=3.0)
    for late_ms in (-10, 3, 60):  # before the decision, its own one pulse, and one too many
        maker.light(maker.scan_ns(5) + late_ms * MS, [[16.0, 14.0]])
    maker.close()
    export_nwb(open_session(tmp_path / "session"), NwbPlan(tmp_path / "x.nwb", Frames.NONE), lambda *_: None)
    with NWBHDF5IO(tmp_path / "x.nwb", "r") as file:
        pulses = file.read().intervals["optogenetic_pulses"].to_dataframe()
    assert pulses["decision_id"].tolist() == ["", "d5", ""]
    assert np.isnan(pulses["scan_to_command_ms"]).tolist() == [True, False, True]


_SHAPE_OF_THE_SESSION = {"check_column_binary_capability", "check_single_row"}
"""What a table of one output, or of single pulses, cannot help."""


def test_of_all_that_the_inspector_knows_nothing_is_left_but_the_shape_of_small_tables(exported: Path) -> None:
    found = [f"{one.check_function_name}: {one.message}" for one in inspect_nwbfile(nwbfile_path=exported)]
    assert [text for text in found if text.partition(":")[0] not in _SHAPE_OF_THE_SESSION] == []


@pytest.mark.parametrize("name", ["virtual_rig", "virtual_volume", "hazards"])
def test_a_session_of_a_shipped_virtual_rig_has_no_violation(tmp_path: Path, name: str) -> None:
    folder = record(tmp_path / "session", 60)
    (folder / "config.yaml").write_text(yaml.safe_dump({"rig": load_rig(find_rig(name)).model_dump(mode="json")}))
    export_nwb(open_session(folder), NwbPlan(tmp_path / "x.nwb"), lambda *_: None)
    threshold = Importance.BEST_PRACTICE_VIOLATION
    found = list(inspect_nwbfile(nwbfile_path=tmp_path / "x.nwb", importance_threshold=threshold))
    assert [f"{one.check_function_name}: {one.message}" for one in found] == []


def test_frames_may_lie_beside_the_file(tmp_path: Path) -> None:
    session = open_session(record(tmp_path / "session", 30))
    export_nwb(session, NwbPlan(tmp_path / "x.nwb", Frames.EXTERNAL), lambda *_: None)
    with NWBHDF5IO(tmp_path / "x.nwb", "r") as file:
        series = file.read().acquisition["TwoPhotonSeries0"]
        name = series.external_file[0]
    movie = tifffile.imread(tmp_path / name)
    np.testing.assert_array_equal(movie, [pixels(frame) for frame in range(30)])
    with pytest.raises(RecordingError, match="exists"):
        export_nwb(session, NwbPlan(tmp_path / "x.nwb"), lambda *_: None)


def test_a_file_may_be_without_frames(tmp_path: Path) -> None:
    session = open_session(record(tmp_path / "session", 30))
    counts = export_nwb(session, NwbPlan(tmp_path / "x.nwb", Frames.NONE), lambda *_: None)
    assert (counts["frames"], counts["rows"], counts["events"]) == (0, 30, 0)


def test_memory_does_not_grow_with_the_frames(tmp_path: Path) -> None:
    peaks = []
    for n in (40, 160):
        folder = record(tmp_path / f"s{n}", n, size=256)
        tracemalloc.start()
        export_nwb(open_session(folder), NwbPlan(tmp_path / f"{n}.nwb"), lambda *_: None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    more_bytes = 120 * 256 * 256 * 2
    assert peaks[1] - peaks[0] < 0.2 * more_bytes, peaks


def test_a_crashed_session_exports_what_can_be_read(tmp_path: Path) -> None:
    folder = record(tmp_path / "session", 60)
    journal = folder / "session_000.mcap"
    journal.write_bytes(journal.read_bytes()[:-3000])
    counts = export_nwb(open_session(folder), NwbPlan(tmp_path / "x.nwb"), lambda *_: None)
    assert 40 <= counts["frames"] <= 60


def test_cells_added_while_it_ran_have_rows_and_traces(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path / "session")
    maker.session()
    make_calibration(tmp_path / "session" / "calibration.h5", [(8, 8), (16, 14)], ROI_IDS, size=SIZE)

    def cell(roi_id: int, row: int) -> RoiDescription:
        return RoiDescription(
            roi_id=roi_id, roi_index=row, parent_id=None, kind="soma", plane=0, tags=[], quality=0.5, snr=3.0,
            tau_s=0.3, amplitude=0.2, expected_detection=0.8, threshold=3.5,
        )  # fmt: skip

    for frame in range(20):
        if frame == 10:
            maker.send(
                "rois", RoisHeader, "inference", np.array([1, 2, 3, 27], "<u4").tobytes(), rev=2, plane=0,
                lines_per_frame=SIZE, pixels_per_line=SIZE, rois=[cell(7, 0), cell(9, 1), cell(30, 2)],
                footprint_start=[0, 1, 2, 4],
            )  # fmt: skip
        maker.activity(frame, np.full((8, 2 if frame < 10 else 3), frame, np.float32))
    maker.close()
    export_nwb(open_session(tmp_path / "session"), NwbPlan(tmp_path / "x.nwb", Frames.NONE), lambda *_: None)
    with NWBHDF5IO(tmp_path / "x.nwb", "r") as file:
        ophys = file.read().processing["ophys"]
        cells = ophys["ImageSegmentation"]["PlaneSegmentation0"]
        assert list(cells.id[:]) == [7, 9, 30]
        assert [tuple(pixel)[:2] for pixel in cells["pixel_mask"][2]] == [(3, 0), (3, 1)]
        dff = ophys["DfOverF0"]["dff"].data[:]
    assert dff.shape == (20, 3)
    assert np.isnan(dff[:10, 2]).all()
    np.testing.assert_array_equal(dff[10:, 2], np.arange(10, 20))
