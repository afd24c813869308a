"""Whatever dies: light is off, what was recorded can be read, and nothing is left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from conftest_faults import gone
from system_rig import small_rig, spikeloop, summary_of

from rt_engine.interfaces.messages import LightHeader, SpikesHeader
from rt_engine.recording.reader import open_session
