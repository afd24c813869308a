"""Section `metrics` of a rig file: figures for Prometheus."""

from __future__ import annotations

import importlib.util

from pydantic import BaseModel, ConfigDict, Field

from rt_engine.interfaces.errors import ConfigError


class MetricsConfig(BaseModel):
    """An HTTP port on 127.0.0.1; whoever asks from elsewhere goes through a proxy that knows people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
