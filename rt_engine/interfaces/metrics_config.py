"""Section `metrics` of a rig file: figures for Prometheus."""

from __future__ import annotations

import importlib.util

from pydantic import Field

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.strict import Strict


class MetricsConfig(Strict):
    """An HTTP port on 127.0.0.1; whoever asks from elsewhere goes through a proxy that knows people."""

    port: int = Field(9464, ge=1024, le=65535)

    def require_usable(self) -> None:
        """Check that the library is there.

        Raises
        ------
        ConfigError
            It is not installed.
        """
        if importlib.util.find_spec("prometheus_client") is None:
            raise ConfigError(
                "needs a library that is not installed", 'pip install "spikeloop[metrics]"', key="metrics"
            )
