"""Configuration of the virtual sample: what is planted, and how hard it is to see.

Every number is a choice of the default rig; `docs/explanation/virtual-rig.md` says why. Counts of light are photons
detected per pixel and frame.
"""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from rt_engine.interfaces.strict import Strict


class CellsConfig(Strict):
    """Somata: rings of indicator around a dim nucleus. Brightness follows from `median_a_over_sigma`."""

    diameter_um: float = Field(12.0, gt=2, le=60)
    diameter_cv: float = Field(0.1, ge=0, le=0.3)
    nucleus_fraction: float = Field(0.55, ge=0, lt=0.9, description="nucleus diameter / soma diameter")
    nucleus_brightness: float = Field(0.25, ge=0, le=1, description="indicator in the nucleus, 1 = as in the ring")
    min_distance_um: float = Field(9.0, ge=0, le=100, description="between centres; below the diameter cells overlap")
    median_a_over_sigma: float = Field(4.0, gt=0, le=100)
    log_sd_a_over_sigma: float = Field(0.5, ge=0, le=2, description="SD of ln(A/sigma) over cells")


class SpikingConfig(Strict):
    """Spontaneous activity: single spikes and bursts at Poisson times, some of them shared by groups."""

    min_rate_hz: float = Field(0.05, gt=0, le=50, description="mean spikes per second, log-uniform over cells")
    max_rate_hz: float = Field(2.0, gt=0, le=50)
    burst_fraction: float = Field(0.3, ge=0, le=1, description="part of the events that are bursts")
    burst_min_spikes: int = Field(2, ge=1, le=50)
    burst_max_spikes: int = Field(8, ge=1, le=50)
    burst_min_isi_ms: float = Field(3.0, ge=1, le=100)
    burst_max_isi_ms: float = Field(15.0, ge=1, le=100)
    group_size: int = Field(8, ge=2, le=500)
    n_groups: int = Field(10, ge=0, le=500)
    shared_fraction: float = Field(0.3, ge=0, le=1, description="part of a group member's events that the group shares")
    late_fraction: float = Field(0.0, ge=0, le=1, description="part of the cells that is silent at first")
    late_from_s: float = Field(60.0, ge=0, description="when these begin to fire")
    group_jitter_ms: float = Field(20.0, ge=0, le=1000, description="SD of a member's time around the group's event")

    @model_validator(mode="after")
    def _ordered(self) -> SpikingConfig:
        for low, high in (
            ("min_rate_hz", "max_rate_hz"),
            ("burst_min_spikes", "burst_max_spikes"),
            ("burst_min_isi_ms", "burst_max_isi_ms"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} must not exceed {high}")
        return self


class BackgroundConfig(Strict):
    """Everything that is not a soma: neuropil, puncta, vessels."""

    neuropil_photons: float = Field(0.5, ge=0, le=1e5, description="mean of the neuropil, photons/pixel/frame")
    contamination: float = Field(0.7, ge=0, le=1, description="part of the neuropil that is seen through a soma")
    texture: float = Field(0.25, ge=0, le=1, description="relative SD of the fine structure of the neuropil")
    fluctuation: float = Field(0.1, ge=0, le=0.3, description="relative SD in time, of its own accord")
    population_drive: float = Field(0.1, ge=0, le=0.3, description="relative SD in time, from the cells around")
    time_constant_s: float = Field(1.0, ge=0.1, le=10)
    correlation_um: float = Field(100.0, ge=20, le=1000, description="spacing of the independent regions of neuropil")
    n_puncta_per_mm2: float = Field(3000.0, ge=0, le=1e5)
    puncta_photons: float = Field(1.2, ge=0, le=1e5, description="median peak of a punctum, photons/pixel/frame")
    vessels_per_mm: float = Field(9.0, ge=0, le=50, description="vessels across the field, per mm of its longer side")
    vessel_diameter_um: float = Field(14.0, gt=0, le=100)


class MotionConfig(Strict):
    """Rigid movement of the sample; one displacement a frame."""

    jitter_um: float = Field(0.3, ge=0, le=5, description="RMS of each axis")
    jitter_time_constant_s: float = Field(0.2, gt=0, le=60)
    jump_rate_hz: float = Field(0.01, ge=0, le=5)
    jump_min_um: float = Field(1.0, ge=0, le=20)
    jump_max_um: float = Field(5.0, ge=0, le=20)
    jump_return_s: float = Field(0.5, gt=0, le=60, description="time constant of the way back")
    drift_um: float = Field(1.5, ge=0, le=20, description="RMS of each axis after many time constants; starts at 0")
    drift_time_constant_s: float = Field(600.0, gt=1)
    max_um: float = Field(9.0, ge=0, le=40, description="bound of each axis")

    @model_validator(mode="after")
    def _ordered(self) -> MotionConfig:
        if self.jump_min_um > self.jump_max_um:
            raise ValueError("jump_min_um must not exceed jump_max_um")
        return self


class DetectorConfig(Strict):
    """From photons to counts: ``round(gain * Poisson(photons) + N(0, read_noise) + offset)``, clipped."""

    gain_counts: float = Field(40.0, gt=0, le=10000, description="counts per photon")
    read_noise_counts: float = Field(8.0, ge=0, le=1000)
    offset_counts: float = Field(100.0, ge=0, le=10000)
    adc_bits: int = Field(12, ge=8, le=16)


class BleachingConfig(Strict):
    """All light falls as ``1 - fraction (1 - exp(-t/time_constant_s))``."""

    fraction: float = Field(0.1, ge=0, le=0.9)
    time_constant_s: float = Field(600.0, gt=0)


class OpsinConfig(Strict):
    """How cells answer light."""

    median_p50_mw: float = Field(4.0, gt=0, le=1000, description="power for a spike with probability 1/2")
    log_sd_p50: float = Field(0.3, ge=0, le=2, description="SD of ln(P50) over cells")
    slope_mw: float = Field(1.0, gt=0, le=100)
    lateral_fwhm_um: float = Field(15.0, gt=0, le=500, description="power around a target falls as a Gaussian")
    axial_fwhm_um: float = Field(40.0, gt=0, le=1000, description="along the depth, for light aimed at other planes")
    latency_ms: float = Field(6.0, ge=0, le=100)
    latency_sd_ms: float = Field(2.0, ge=0, le=50)
    min_width_ms: float = Field(0.5, ge=0, le=100, description="shorter pulses evoke nothing")
    silences_ms: float = Field(
        0.0, ge=0, le=10_000, description="above 0: light evokes no spikes, it takes a cell's own away for so long"
    )
    artefact_photons_per_mw: float = Field(0.3, ge=0, le=1000, description="light added to lines scanned meanwhile")
    says_artefact: bool = Field(True, description="false: the frame does not say which lines were lit")
    scatter_fraction: float = Field(0.0, ge=0, le=1, description="share of the power that misses the focus")
    scatter_fwhm_um: float = Field(60.0, gt=0, le=5000, description="that share falls around the target as a Gaussian")
    imaging_rate_hz: float = Field(0.0, ge=0, le=10, description="spikes of a cell that the imaging beam evokes")


class SampleConfig(Strict):
    """The virtual sample. `spontaneous: false` silences the cells' own spikes and changes nothing else."""

    seed: int = Field(1, ge=0)
    n_cells: int = Field(200, ge=0, le=5000)
    indicator: str = "jGCaMP8m"
    spontaneous: bool = True
    cells: CellsConfig = CellsConfig()
    spiking: SpikingConfig = SpikingConfig()
    background: BackgroundConfig = BackgroundConfig()
    motion: MotionConfig = MotionConfig()
    detector: DetectorConfig = DetectorConfig()
    bleaching: BleachingConfig = BleachingConfig()
    opsin: OpsinConfig = OpsinConfig()

    @field_validator("indicator")
    @classmethod
    def _named(cls, name: str) -> str:
        if not name.strip():
            raise ValueError("must name an indicator of the library")
        return name
