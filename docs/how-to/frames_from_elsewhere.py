"""Frames from another computer than the rig's: encrypted, shown by a key of role `source`, in the rig's time.

On the rig: spikeloop keys new microscope_pc --role source
There:      python frames_from_elsewhere.py microscope_pc.key 10.0.0.1 30
"""

import json
import sys
import threading
import time
import uuid
from pathlib import Path

import msgpack
import numpy as np
import zmq

key = json.loads(Path(sys.argv[1]).read_text())
rig, fps, shape = sys.argv[2], float(sys.argv[3]), (128, 128)
context = zmq.Context()


def connected(kind, port):
    """A socket to the rig, with our key."""
    made = context.socket(kind)
    made.setsockopt(zmq.LINGER, 0)
    made.curve_publickey, made.curve_secretkey = key["public"].encode(), key["secret"].encode()
    made.curve_serverkey = key["rig"].encode()
    made.connect(f"tcp://{rig}:{port}")
    return made


class RigClock:
    """Time of the rig = time here + offset; asked for once a second, as good as half of the quickest answer."""

    def __init__(self):
        self._answers = []  # (when, offset, half of the round trip), nanoseconds

    def follow(self):
        control = connected(zmq.DEALER, 5570)
        while True:
            request = {"v": 1, "id": uuid.uuid4().hex, "role": "source", "cmd": "status", "args": {}}
            sent = time.perf_counter_ns()
            control.send(msgpack.packb(request))
            while control.poll(2000):
                reply = msgpack.unpackb(control.recv())
                back = time.perf_counter_ns()
                if reply["id"] == request["id"] and reply["ok"]:
                    offset = reply["result"]["t_ns"] - (sent + back) // 2
                    self._answers = [*self._answers[-20:], (back, offset, (back - sent) // 2)]
                    break
            time.sleep(1 if len(self._answers) > 5 else 0.05)

    def to_rig(self, t_ns):
        """The time of the rig and its uncertainty; clocks drift by 500 ppm at most. None before the first answer."""
        bounds = [(half + abs(t_ns - when) // 2000, offset) for when, offset, half in self._answers]
        return (t_ns + min(bounds)[1], min(bounds)[0]) if bounds else None


clock = RigClock()
threading.Thread(target=clock.follow, daemon=True).start()
frames = connected(zmq.PUB, 5999)
random, boot, began = np.random.default_rng(1), uuid.uuid4().hex, time.monotonic()
cells = np.kron(random.random((16, 16)) > 0.7, np.ones((8, 8))) * 40 + 10
number = 0
while True:
    time.sleep(max(0, began + number / fps - time.monotonic()))
    bright = 1 + 3 * (random.random((16, 16)) > 0.97)
    pixels = random.poisson(cells * np.kron(bright, np.ones((8, 8)))).astype("<u2")  # here: your frame
    told = clock.to_rig(time.perf_counter_ns())  # when its last line had been scanned
    if told is None:
        began = time.monotonic()
        continue
    header = {
        **{"v": 1, "session": "", "source": "mine", "host": "there", "boot_id": boot, "seq": number},
        **{"t_sent_ns": told[0], "plane": 0, "channel": 0, "frame": number, "volume": None},
        **{"line0": 0, "n_lines": shape[0], "lines_per_frame": shape[0], "pixels_per_line": shape[1]},
        **{"dtype": "u2", "adc_max": 65535, "offset": 0.0, "frame_period_ns": int(1e9 / fps)},
        **{"line_period_ns": None, "t_scan_ns": told[0], "t_scan_uncertainty_ns": told[1]},
        **{"t_device_s": None, "flags": 0, "blanked": []},
    }
    frames.send_multipart([b"frame.0.0", msgpack.packb(header), pixels.tobytes()])
    number += 1
