"""NWB files as pynwb writes them: every series found, turned, scaled and timed, and one clear error for the rest."""

from datetime import UTC, datetime

import h5py
import numpy as np
import pytest

from rt_engine.cli import main
from rt_engine.interfaces.errors import ConfigError
from rt_engine.models.trace_files import read_traces
from rt_engine.models.trace_inference import TraceKind

pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed: pip install 'spikeloop[test]'")
ophys = pytest.importorskip("pynwb.ophys")

N_ROIS, N_FRAMES, RATE_HZ = 3, 120, 20.0
VALUES = np.random.default_rng(0).normal(0.1, 0.3, (N_FRAMES, N_ROIS)).astype(np.float32)


class Maker:
    """One NWB file with a plane of `N_ROIS` cells, and series as a test wants them."""

    def __init__(self):
        start = datetime(2026, 1, 1, tzinfo=UTC)
        self.file = pynwb.NWBFile(session_description="test", identifier="1", session_start_time=start)
        self.module = self.file.create_processing_module("ophys", "traces")
        device = self.file.create_device(name="microscope")
        channel = ophys.OpticalChannel(name="green", description="green", emission_lambda=510.0)
        plane = self.file.create_imaging_plane(
            name="plane", optical_channel=channel, description="one", device=device, excitation_lambda=920.0,
            indicator="GCaMP6f", location="V1",
        )  # fmt: skip
        self.segmentation = ophys.ImageSegmentation()
        self.module.add(self.segmentation)
        self.plane = plane

    def cells(self, name="PlaneSegmentation"):
        table = self.segmentation.create_plane_segmentation(name=name, description="cells", imaging_plane=self.plane)
        for i in range(N_ROIS):
            table.add_roi(pixel_mask=[(i, i, 1.0)])
        return table.create_roi_table_region(region=list(range(N_ROIS)), description="all")

    def add(self, container, name, data=VALUES, rois=None, unit="n.a.", **time):
        time = time or {"rate": RATE_HZ, "starting_time": 5.0}
        series = ophys.RoiResponseSeries(name=name, data=data, rois=rois or self.cells(), unit=unit, **time)
        if container is None:
            self.file.add_acquisition(series)
            return self
        kind, container_name = container
        if container_name not in self.module.data_interfaces:
            self.module.add(kind(name=container_name))
        self.module[container_name].add_roi_response_series(series)
        return self

    def write(self, path):
        with pynwb.NWBHDF5IO(path, "w") as io:
            io.write(self.file)
        return path


def without_cells(path):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(pynwb.NWBFile(session_description="test", identifier="1", session_start_time=start))
    return path


DFF, FLUORESCENCE = (ophys.DfOverF, "DfOverF"), (ophys.Fluorescence, "Fluorescence")
NEUROPIL = (ophys.Fluorescence, "Neuropil")


def test_dff_comes_first_and_fluorescence_with_its_neuropil_when_asked_for(tmp_path):
    maker = Maker()
    rois = maker.cells()
    counts, ring = 100 * VALUES + 500, 50 * VALUES + 300
    maker.add(FLUORESCENCE, "RoiResponseSeries", counts, rois).add(NEUROPIL, "Neuropil", ring, rois)
    maker.add((ophys.Fluorescence, "Deconvolved"), "Deconvolved", VALUES, rois)
    maker.add(DFF, "RoiResponseSeries", VALUES, rois)
    path = maker.write(tmp_path / "a.nwb")
    found = read_traces(path)
    assert found.kind is TraceKind.DFF
    np.testing.assert_array_equal(found.traces, VALUES.T)
    assert found.traces.flags.c_contiguous
    assert found.frame_rate_hz.tolist() == [RATE_HZ] * N_ROIS
    assert found.neuropil is None
    np.testing.assert_allclose(found.time_s, 5 + np.arange(N_FRAMES) / RATE_HZ)
    found = read_traces(path, TraceKind.COUNTS)
    assert found.kind is TraceKind.COUNTS
    np.testing.assert_allclose(found.traces, counts.T)
    np.testing.assert_allclose(found.neuropil, ring.T)


def test_only_fluorescence_is_taken_as_counts_and_series_without_container_are_found(tmp_path):
    path = Maker().add(None, "corrected_traces").write(tmp_path / "a.nwb")
    found = read_traces(path)
    assert found.kind is TraceKind.COUNTS
    assert found.neuropil is None
    path = Maker().add(None, "dff_traces").write(tmp_path / "b.nwb")
    assert read_traces(path).kind is TraceKind.DFF


@pytest.mark.filterwarnings("ignore:.*length of the first dimension.*:UserWarning", "ignore:.*second dimension.*")
def test_cells_first_is_turned_when_the_numbers_tell(tmp_path):
    path = Maker().add(DFF, "RoiResponseSeries", np.ascontiguousarray(VALUES.T)).write(tmp_path / "a.nwb")
    np.testing.assert_array_equal(read_traces(path).traces, VALUES.T)


def test_one_cell_may_be_a_vector(tmp_path):
    maker = Maker()
    rois = maker.cells()
    one = maker.segmentation["PlaneSegmentation"].create_roi_table_region(region=[1], description="one")
    maker.add(FLUORESCENCE, "RoiResponseSeries", VALUES, rois).add(DFF, "RoiResponseSeries", VALUES[:, 1], one)
    found = read_traces(maker.write(tmp_path / "a.nwb"))
    np.testing.assert_array_equal(found.traces, VALUES[None, :, 1])


def test_units_are_undone(tmp_path):
    maker = Maker()
    path = maker.add(DFF, "RoiResponseSeries", 100 * VALUES, unit="percent").write(tmp_path / "a.nwb")
    np.testing.assert_allclose(read_traces(path).traces, VALUES.T, rtol=1e-6)
    with h5py.File(path, "a") as file:
        file["processing/ophys/DfOverF/RoiResponseSeries/data"].attrs["conversion"] = 2.0
        file["processing/ophys/DfOverF/RoiResponseSeries/data"].attrs["offset"] = 1.0
    np.testing.assert_allclose(read_traces(path).traces, 2 * VALUES.T + 1, rtol=1e-5)


def test_timestamps_give_the_rate_and_skipped_frames_are_no_samples(tmp_path):
    rng = np.random.default_rng(1)
    column = np.concatenate([np.arange(50), 53 + np.arange(N_FRAMES - 50)])
    times = 7 + (column + rng.uniform(-0.1, 0.1, N_FRAMES)) / RATE_HZ
    path = Maker().add(DFF, "RoiResponseSeries", timestamps=times).write(tmp_path / "a.nwb")
    found = read_traces(path)
    assert found.frame_rate_hz[0] == pytest.approx(RATE_HZ, rel=0.02)
    assert found.traces.shape == (N_ROIS, N_FRAMES + 3)
    assert np.isnan(found.traces[:, 50:53]).all()
    np.testing.assert_array_equal(found.traces[:, column], VALUES.T)
    np.testing.assert_allclose(found.time_s[column], times)


def test_planes_of_different_rates_stand_below_each_other(tmp_path):
    maker = Maker()
    maker.add(FLUORESCENCE, "plane0", VALUES, maker.cells("one"))
    maker.add(FLUORESCENCE, "plane1", VALUES[:60], maker.cells("two"), rate=10.0, starting_time=5.0)
    found = read_traces(maker.write(tmp_path / "a.nwb"))
    assert found.traces.shape == (2 * N_ROIS, N_FRAMES)
    assert found.frame_rate_hz.tolist() == [20.0] * 3 + [10.0] * 3
    assert np.isnan(found.traces[3:, 60:]).all()
    assert found.time_s is None


def test_what_cannot_be_told_apart_or_is_missing_is_said_with_the_series_there_are(tmp_path):
    maker = Maker()
    rois = maker.cells()
    maker.add(FLUORESCENCE, "raw", VALUES, rois).add(FLUORESCENCE, "demixed", VALUES, rois)
    path = maker.write(tmp_path / "two.nwb")
    with pytest.raises(ConfigError, match=r"several fluorescence.*demixed.*raw") as caught:
        read_traces(path)
    assert str(path) in str(caught.value)
    with pytest.raises(ConfigError, match=r"with dF/F; series there: .*Fluorescence/raw \(fluorescence\)"):
        read_traces(path, TraceKind.DFF)
    with pytest.raises(ConfigError, match="series there: none"):
        read_traces(without_cells(tmp_path / "none.nwb"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("starting_time"), "neither timestamps nor starting_time"),
        (lambda s: s.pop("data"), "no data of shape"),
        (lambda s: s["starting_time"].attrs.__setitem__("rate", 0.0), "neither timestamps"),
        (lambda s: s.create_dataset("timestamps", data=np.zeros(N_FRAMES)), "do not rise"),
        (lambda s: s.create_dataset("timestamps", data=np.arange(7.0)), "7 timestamps"),
        (lambda s: s.create_dataset("timestamps", data=np.append(np.arange(N_FRAMES - 1.0), 1e6)), "gaps"),
    ],
)
def test_broken_series_are_named(tmp_path, change, message):
    path = Maker().add(DFF, "RoiResponseSeries").write(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        change(file["processing/ophys/DfOverF/RoiResponseSeries"])
    with pytest.raises(ConfigError, match=message) as caught:
        read_traces(path)
    assert str(path) in str(caught.value)
    assert "processing/ophys/DfOverF/RoiResponseSeries" in str(caught.value)


def test_files_that_are_no_nwb_are_refused(tmp_path):
    (tmp_path / "text.nwb").write_text("hello")
    with h5py.File(tmp_path / "other.nwb", "w") as file:
        file["x"] = 1
    for name, message in (("text.nwb", "cannot be read"), ("other.nwb", "no NWB file"), ("none.nwb", "no such file")):
        with pytest.raises(ConfigError, match=message):
            read_traces(tmp_path / name)


def test_the_command_gives_the_same_from_nwb_as_from_npz(tmp_path):
    y = VALUES.copy()
    y[60:63] += 3.0
    path = Maker().add(DFF, "RoiResponseSeries", y).write(tmp_path / "a.nwb")
    np.savez(tmp_path / "a.npz", traces=y.T, frame_rate_hz=RATE_HZ)
    for name in ("a.nwb", "a.npz"):
        assert main(["infer", str(tmp_path / name), "-o", str(tmp_path / f"{name}.out"), "--indicator", "GCaMP6f"]) == 0
    with np.load(tmp_path / "a.nwb.out") as one, np.load(tmp_path / "a.npz.out") as other:
        for key in ("spike_rate", "probability", "events"):
            np.testing.assert_array_equal(one[key], other[key])
        assert len(one["events"]) >= 1
        np.testing.assert_allclose(one["time_s"], 5 + np.arange(N_FRAMES) / RATE_HZ)
        assert "time_s" not in other.files
    assert path.exists()
