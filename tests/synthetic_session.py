"""Writes small session folders whose figures are known, message by message."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rt_engine.interfaces.calibration import Calibration, save_calibration
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import (
    ActivityHeader,
    FateHeader,
    FrameHeader,
    HealthHeader,
    LightHeader,
    LogHeader,
    Mode,
    Outcome,
    Phase,
    SessionHeader,
    SpikesHeader,
    StateHeader,
    StimHeader,
    TruthHeader,
    encode,
)
from rt_engine.recording.journal import JournalWriter

T_WALL_NS = 1_760_000_000_000_000_000
T_MONO_NS = 10_000_000_000
MS = 1_000_000
FIELDS = ["fluorescence", "neuropil", "dff", "calcium", "spike", "z", "probability", "valid"]


class SessionMaker:
    """Stamps and journals messages; frame i is there at ``(i + 1) * period_ns`` after the start."""

    def __init__(self, folder: Path, rate_hz: float = 25.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.period_ns = round(1e9 / rate_hz)
        self.writer = JournalWriter(folder, T_WALL_NS, T_MONO_NS)
        self.seq: dict[tuple[str, str], int] = {}
        self.t_ns = T_MONO_NS

    def send(self, topic, header_type, source, payload=b"", skip_seq=0, /, **fields):
        key = (source, topic)
        seq = self.seq.get(key, 0) + skip_seq
        self.seq[key] = seq + 1
        header = header_type(
            session="s1", source=source, host="h", boot_id="b1", seq=seq, t_sent_ns=self.t_ns, **fields
        )
        self.writer.write(topic, encode(header), payload, self.t_ns)

    def scan_ns(self, frame):
        return T_MONO_NS + (frame + 1) * self.period_ns

    def session(self, config=None):
        self.send(
            "session", SessionHeader, "supervisor", wall_time_utc="2026-01-01T00:00:00Z", t_wall_ns=T_WALL_NS,
            t_monotonic_ns=T_MONO_NS, state="live", rig="synthetic", protocol="spike_triggered",
            versions={"spikeloop": "0.1.0", "numpy": "2.4"}, git_hash="abc123", seeds={"protocol": 1},
            subject=None, config={"name": "synthetic"} if config is None else config,
        )  # fmt: skip

    def frame(self, frame, lines, channel=0):
        self.t_ns = self.scan_ns(frame)
        self.send(
            f"frame.0.{channel}", FrameHeader, "acquisition", lines.tobytes(), plane=0, channel=channel, frame=frame,
            volume=None, line0=0, n_lines=lines.shape[0], lines_per_frame=lines.shape[0],
            pixels_per_line=lines.shape[1], dtype="u2", adc_max=None, offset=None, frame_period_ns=self.period_ns,
            line_period_ns=None, t_scan_ns=self.t_ns, t_scan_uncertainty_ns=None, t_device_s=None, flags=0,
        )  # fmt: skip

    def spikes(self, frame, events=(), mode=Mode.LIVE, receive_ms=1.0, decide_ms=2.0, hold=2, skip_seq=0, late=False):
        """`events`: (roi_id, event_frame) pairs."""
        records = np.zeros(len(events), EVENT_DTYPE)
        for record, (roi_id, event_frame) in zip(records, events, strict=True):
            record["roi_id"], record["event_frame"] = roi_id, event_frame
            record["t_event_ns"], record["z"], record["amplitude"] = self.scan_ns(event_frame), 5.0, 0.5
            record["probability"] = 0.99
        scan_ns = self.scan_ns(frame)
        self.t_ns = scan_ns + round(decide_ms * MS)
        self.send(
            "spikes.0", SpikesHeader, "inference", records.tobytes(), skip_seq, plane=0, frame=frame, line0=0,
            n_lines=64, hold_frames=hold, mode=mode, t_scan_ns=scan_ns, t_received_ns=scan_ns + round(receive_ms * MS),
            t_decided_ns=self.t_ns, n_events=len(events), late=late,
        )  # fmt: skip

    def activity(self, frame, values):
        """`values`: float32, shape (n_fields, n_rois)."""
        self.send(
            "activity.0", ActivityHeader, "inference", np.ascontiguousarray(values, "<f4").tobytes(), plane=0,
            frame=frame, t_scan_ns=self.scan_ns(frame), shift_y_px=0.0, shift_x_px=0.0, quality=1.0, rois_rev=1,
            n_rois=values.shape[1], fields=FIELDS, stage_ns={},
        )  # fmt: skip

    def stim(self, decision_id, frame, outcome, rois=(1,), targets=(2,), command_ms=None, output_ms=None, arm=None):
        scan_ns = self.scan_ns(frame)
        fields = dict(
            decision_id=decision_id, rule="r", arm=arm or ("withheld" if outcome == "withheld" else "stim"),
            reason=None, plane=0, frame=frame, roi_ids=list(rois), target_ids=list(targets), pattern_id=None,
            t_scan_ns=scan_ns, t_decided_ns=scan_ns + 2 * MS, output="led", pulses=1, width_us=5000,
            power_uw=[8000] * len(targets), energy_nj=[40_000] * len(targets),
        )  # fmt: skip
        t_command_ns = None if command_ms is None else scan_ns + round(command_ms * MS)
        t_output_ns = None if output_ms is None else scan_ns + round(output_ms * MS)
        none = dict(outcome=None, t_command_ns=None, t_output_ns=None)
        self.send("stim", StimHeader, "stimulation", phase=Phase.INTENT, **fields, **none)
        if outcome is None:
            return
        done = dict(outcome=Outcome(outcome), t_command_ns=t_command_ns, t_output_ns=None)
        self.send("stim", StimHeader, "stimulation", phase=Phase.DONE, **fields, **done)
        if t_output_ns is not None:
            measured = dict(outcome=Outcome(outcome), t_command_ns=t_command_ns, t_output_ns=t_output_ns)
            self.send("stim", StimHeader, "stimulation", phase=Phase.MEASURED, **fields, **measured)

    def light(self, t_on_ns, targets_yx_px):
        self.send(
            "light", LightHeader, "stimulation", output="led", t_on_ns=t_on_ns, width_us=5000,
            power_uw=[8000] * len(targets_yx_px), targets_yx_px=targets_yx_px,
        )  # fmt: skip

    def truth(self, frame, spikes=(), sample=None):
        """`spikes`: (cell, fractional frame) pairs."""
        self.send(
            "truth", TruthHeader, "acquisition", kind="sample" if sample else "frame", plane=0, frame=frame,
            shift_y_px=0.0, shift_x_px=0.0, spike_cell=[c for c, _ in spikes],
            t_spike_ns=[T_MONO_NS + round(f * self.period_ns) for _, f in spikes],
            spike_frame=[float(f) for _, f in spikes], evoked=[False] * len(spikes), t_light_ns=[], sample=sample,
        )  # fmt: skip

    def health(self, source, dropped=0, late=0):
        self.send(
            "health", HealthHeader, source, state="live", dropped=dropped, gaps=0, late=late, queue=0,
            rss_bytes=10**8, latency_ms={},
        )  # fmt: skip

    def state(self, trips=()):
        self.send(
            "state", StateHeader, "stimulation", interlock="armed", trips=list(trips), preconditions={}, limits={},
            dose={}, protocol="spike_triggered", protocol_phase="running", trial=0, arm=None, counts={}, effect=None,
        )  # fmt: skip

    def fate(self, fate, first, n=1, plane=0):
        self.send(f"fate.{plane}", FateHeader, "inference", plane=plane, fate=fate, first=first, n=n, reason="")

    def log(self, text):
        self.send("log", LogHeader, "inference", level="warning", text=text, fields={})

    def close(self):
        self.writer.close()


def sample(yx_px, a_over_sigma, radius_px=5.0):
    n = len(a_over_sigma)
    return {
        "cell": list(range(n)),
        "y_px": [float(y) for y, _ in yx_px],
        "x_px": [float(x) for _, x in yx_px],
        "radius_px": [radius_px] * n,
        "a_over_sigma": [float(a) for a in a_over_sigma],
        "rate_hz": [0.5] * n,
        "opsin": [True] * n,
    }


def make_calibration(path, yx_px, roi_ids=None, size=64, rate_hz=25.0, n_baseline_frames=500, radius_px=3):
    """Discs of light at the given places."""
    n = len(yx_px)
    y, x = np.mgrid[:size, :size]
    template = np.full((size, size), 100, np.float32) + np.random.default_rng(0).normal(0, 5, (size, size))
    pixels = []
    for cy, cx in yx_px:
        disc = (y - cy) ** 2 + (x - cx) ** 2 <= radius_px**2
        template[disc] += 150
        pixels.append(np.flatnonzero(disc).astype(np.uint32))
    start = np.concatenate(([0], np.cumsum([len(p) for p in pixels]))).astype(np.int64)
    flat = np.concatenate([*pixels, np.zeros(0, np.uint32)]).astype(np.uint32)
    ones = np.ones(n, np.float32)
    calibration = Calibration(
        frame_rate_hz=rate_hz, n_lines=size, pixels_per_line=size, um_per_px=0.8, indicator="jGCaMP8m",
        hold_frames=2, n_baseline_frames=n_baseline_frames, offset_counts=0.0, adc_max_counts=float("nan"),
        false_alarms_per_min=0.5, template=template.astype(np.float32),
        correlation_image=np.zeros((size, size), np.float32),
        roi_id=np.array(roi_ids if roi_ids is not None else range(n), np.uint32), roi_start=start, roi_pixels=flat,
        neuropil_start=start, neuropil_pixels=flat, neuropil_coefficient=0.7 * ones, neuropil_median_counts=0 * ones,
        f0_counts=100 * ones, sigma_dff=0.1 * ones, tau_rise_s=0.02 * ones, tau_s=0.3 * ones,
        amplitude_dff=0.5 * ones, rate_hz=0.5 * ones, filter_taps=np.zeros((5, n), np.float32), filter_gain=4 * ones,
        threshold=3.5 * ones, expected_detection=0.9 * ones, quality=ones,
    )  # fmt: skip
    save_calibration(path, calibration)
    return calibration


def make_rich_session(folder, n_cells=30, n_frames=1500, rate_hz=25.0, seed=1, size=128):
    """A virtual-rig-like session: planted cells that fire, are found, trigger light, and answer it."""
    rng = np.random.default_rng(seed)
    maker = SessionMaker(folder, rate_hz)
    yx = [(10 + 18 * (i // 6), 12 + 20 * (i % 6)) for i in range(n_cells)]
    a = np.exp(rng.normal(np.log(4), 0.5, n_cells))
    make_calibration(folder / "calibration.h5", yx[: n_cells - 3], size=size, rate_hz=rate_hz, radius_px=4)
    (folder / "config.yaml").write_text("name: synthetic\nmicroscope: {driver: virtual, frame_rate_hz: 25.0}\n")
    n_rois = n_cells - 3
    fired = {c: np.sort(rng.uniform(0, n_frames, rng.poisson(0.4 * n_frames / rate_hz))) for c in range(n_cells)}
    decay = np.exp(-1 / (0.4 * rate_hz))
    calcium = np.zeros(n_cells)
    maker.session()
    pending, evoked_at, trial, last = {}, {}, 0, -100
    for frame in range(n_frames):
        live = frame >= 200
        spikes = [(c, f) for c in range(n_cells) for f in fired[c] if int(f) == frame]
        spikes += [(c, frame + 0.3) for c in evoked_at.pop(frame, ())]
        calcium *= decay
        for c, _ in spikes:
            calcium[c] += 0.5
            if c < n_rois and rng.random() < min(1.0, a[c] / 5):
                pending.setdefault(frame + 2, []).append((c, frame))
        maker.truth(frame, spikes, sample(yx, a) if frame % 30 == 0 else None)
        events = pending.pop(frame, [])
        maker.spikes(
            frame, events if live else (), Mode.LIVE if live else Mode.BASELINE,
            receive_ms=rng.gamma(4, 0.1), decide_ms=0.5 + rng.gamma(6, 0.2) + 0.6,
        )  # fmt: skip
        values = np.zeros((8, n_rois), np.float32)
        values[2] = calcium[:n_rois] + rng.normal(0, 0.5 / a[:n_rois])
        values[3] = calcium[:n_rois]
        values[7] = 1
        if frame % 400 == 399:
            values[2:4] = np.nan
            values[7] = 0
        maker.activity(frame, values)
        triggers = [c for c, _ in events if c < 6] if live else []
        if triggers and frame - last > 25:
            last, trial = frame, trial + 1
            deliver = rng.random() < 0.5
            maker.stim(
                f"d{trial}", frame, "delivered" if deliver else "withheld", triggers[:1], (10, 11, 12),
                command_ms=3.0 + rng.gamma(3, 0.2) if deliver else None,
            )  # fmt: skip
            if deliver:
                maker.light(maker.scan_ns(frame) + 4 * MS, [[float(v) for v in yx[c]] for c in (10, 11, 12)])
                evoked_at[frame + 1] = (10, 11, 12)
        elif triggers:
            trial += 1
            maker.stim(f"d{trial}", frame, "suppressed", triggers[:1], ())
        if frame % 25 == 0:
            for source in ("acquisition", "inference", "stimulation", "recording"):
                maker.health(source)
            maker.state([{"t_ns": 1, "signal": "heartbeat", "text": "engine silent"}] if frame > 1200 else [])
    maker.close()
    return maker
