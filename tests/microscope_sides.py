"""The side of the vendor, of every microscope driver, in one shape: what the conformance suite drives them by."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import zmq
from numpy.typing import NDArray

from drivers.microscopes.prairieview.samples import Layout
from drivers.microscopes.scanbox.slot import FREE, SlotHeader
from drivers.microscopes.scanimage.wire import FrameNote, pack
from drivers.microscopes.simulators.pictures import stamp_of, stamped
from drivers.microscopes.simulators.prairie_view import SimulatedPrairieView
from drivers.microscopes.simulators.scanbox import SimulatedScanbox
from drivers.microscopes.simulators.scanimage import SimulatedScanImage
from drivers.microscopes.simulators.scanimage_file import SimulatedScanImageFile
from drivers.microscopes.simulators.thorimage import SimulatedThorImage
from rt_engine.interfaces.devices import FrameInfo
from rt_engine.transport.free_ports import free_ports

SHAPE = (12, 20)
DEADLINE_S = 60.0


LAWS = {
    "waits": "a vendor that is not there yet is waited for",
    "restart": "a vendor that is restarted is found again",
    "loss": "a frame that never came is told",
    "tear": "a frame that the vendor died in is not delivered",
    "host times": "a frame has a time of this host, and how well it is known",
    "scan times": "the true scan time lies within the uncertainty told",
}
"""What a driver may be spared, with a reason; the rest holds for every one."""


class Side:
    """A vendor's program. `spared` names the laws that its driver cannot keep, with the reason."""

    is_own = False
    """Frames come by themselves."""
    shape: tuple[int, int] = SHAPE
    t_true_ns: int | None = None
    """When the frame is scanned that is scanned next; None: now."""
    channels: tuple[int, ...] = (0,)
    spared: dict[str, str] = {}
    burst = 600
    """Frames scanned at once while the driver sleeps."""
    config: dict[str, Any]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0
        self.runs = 0

    def install(self, patch: Any) -> None:
        """Make ready what its driver is found by."""

    def stamp_of(self, picture: NDArray[Any], info: FrameInfo) -> tuple[int, int] | None:
        """Which frame and channel a picture is; None if it is none, or not whole."""
        return stamp_of(picture)

    def rest(self) -> None:
        """The driver is not read for so long."""

    def date(self, t_s: float) -> None:
        """The time stamp of the next frame, where it has one; without: as if it had scanned evenly since it began."""

    def begin(self) -> None:
        """The program starts; its numbers begin again."""
        self.number = 0
        self.runs += 1

    def scan(self, stamp: int) -> None:
        """It scans a frame."""
        raise NotImplementedError

    def lose(self, stamp: int) -> None:
        """It scans a frame that never reaches us."""
        self.number += 1

    def tear(self, stamp: int) -> None:
        """It dies within a frame; `end` comes next."""
        raise NotImplementedError

    def end(self) -> None:
        """It ends."""


class ScanImageSide(Side):
    channels = (0, 1)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_ports(1)[0]
        self.config = {"driver": "scanimage", "port": self.port}

    def begin(self) -> None:
        super().begin()
        self.link = SimulatedScanImage(self.port, 30.0, (1, 2))
        self.t_s: float | None = None

    def date(self, t_s: float) -> None:
        self.t_s = t_s

    def scan(self, stamp: int) -> None:
        self.number += 1
        pictures = np.array([stamped(SHAPE, stamp, channel) for channel in self.channels]).astype(np.int16)
        self.link.send(self.number, self.number / 30.0 if self.t_s is None else self.t_s, pictures)
        self.link.flush()

    def lose(self, stamp: int) -> None:
        super().lose(stamp)
        self.link.skipped += 1

    def tear(self, stamp: int) -> None:
        note = FrameNote(
            boot="b", seq=0, frame=self.number + 1, t_s=1.0, n_lines=SHAPE[0], n_pixels=SHAPE[1],
            channels=[1, 2], frame_rate_hz=30.0,
        )  # fmt: skip
        message = pack(note, np.zeros((2, *SHAPE), np.int16))
        if self.link._link is not None:
            self.link._link.sendall(message[: len(message) // 2])

    def end(self) -> None:
        self.link.close()


class ScanImageFileSide(Side):
    channels = (0, 1)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"driver": "scanimage_file", "pattern": str(folder / "run_*.tif")}
        self.files = SimulatedScanImageFile(folder, SHAPE, (1, 2))

    def begin(self) -> None:
        super().begin()
        self.files.begin(f"run_{self.runs:05}.tif")

    def date(self, t_s: float) -> None:
        self.files.idle_s = t_s - (self.number + 1) / 30.0

    def scan(self, stamp: int) -> None:
        self.number += 1
        self.files.grab(self.number, stamp)

    def tear(self, stamp: int) -> None:
        self.files.grab(self.number + 1, stamp, part=0.7)


class ThorImageSide(Side):
    channels = (0, 1)
    spared = {"loss": "the file has no numbers: what ThorImage loses cannot be seen; what this side loses is counted"}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"driver": "thorimage", "folder": str(folder)}
        self.files = SimulatedThorImage(folder, SHAPE, self.channels)

    def begin(self) -> None:
        super().begin()
        self.files.begin(f"run_{self.runs:03}")

    def scan(self, stamp: int) -> None:
        self.files.scan(stamp)
        self.files.save()

    def tear(self, stamp: int) -> None:
        self.files.scan(stamp)
        self.files.save(SHAPE[0] * SHAPE[1])


class ScanboxSide(Side):
    channels = (0, 1)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / "scanbox.mmap"
        self.config = {"driver": "scanbox", "mmap_file": str(self.path), "frame_rate_hz": 30.0, "channels": [0, 1]}

    def begin(self) -> None:
        super().begin()
        self.box = SimulatedScanbox(self.path, SHAPE)

    def scan(self, stamp: int) -> None:
        self.box.scan(self.number, stamp)
        self.number += 1

    def tear(self, stamp: int) -> None:
        pictures = [65535 - stamped(SHAPE, stamp, channel) for channel in self.channels]
        if self.box._slot.number() < 0:
            self.box._slot.put(SlotHeader(FREE, *SHAPE, 0, 0, 1), pictures, column_major=True)

    def end(self) -> None:
        self.box.close()


class PrairieViewSide(Side):
    channels = (0, 1)
    burst = 90  # as its ring holds: it does not tell when it runs over, and this side judges that by the time it took

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_ports(1)[0]
        self.config = {"driver": "prairieview", "port": self.port, "channels": [0, 1], "password": "secret"}

    def begin(self) -> None:
        super().begin()
        self.view = SimulatedPrairieView(self.port, Layout(*SHAPE, 3, 2), 30.0, "secret")

    def scan(self, stamp: int) -> None:
        self.view.scan(stamp)

    def lose(self, stamp: int) -> None:
        self.view.has_dropped = True

    def tear(self, stamp: int) -> None:
        self.view.scan(stamp, part=0.4)
        time.sleep(0.05)

    def end(self) -> None:
        self.view.close()


class StreamSide(Side):
    """A program of somebody's own: it knows MessagePack and ZeroMQ."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        self.config = {"driver": "stream", "endpoint": self.endpoint}

    def begin(self) -> None:
        super().begin()
        self.context, self.seq = zmq.Context(), 0
        self.socket = self.context.socket(zmq.PUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(self.endpoint)

    def scan(self, stamp: int, n_bytes: int | None = None) -> None:
        header = {
            "v": 1, "session": "", "source": "mine", "host": "h", "boot_id": f"boot {self.runs}", "seq": self.seq,
            "t_sent_ns": 1, "plane": 0, "channel": 0, "frame": self.number, "volume": None, "line0": 0,
            "n_lines": SHAPE[0], "lines_per_frame": SHAPE[0], "pixels_per_line": SHAPE[1], "dtype": "u2",
            "adc_max": 4095, "offset": None, "frame_period_ns": 33_333_333, "line_period_ns": None,
            "t_scan_ns": self.t_true_ns or time.perf_counter_ns(), "t_scan_uncertainty_ns": 7,
            "t_device_s": None, "flags": 0, "blanked": [],
        }  # fmt: skip
        self.seq += 1
        self.number += 1
        data = stamped(SHAPE, stamp).tobytes()[:n_bytes]
        self.socket.send_multipart([b"frame.0.0", msgpack.packb(header), data])

    def lose(self, stamp: int) -> None:
        super().lose(stamp)
        self.seq += 1

    def tear(self, stamp: int) -> None:
        self.scan(stamp, n_bytes=100)

    def end(self) -> None:
        self.context.destroy(linger=0)
