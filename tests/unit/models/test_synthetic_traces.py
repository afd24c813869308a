"""Training traces: from ranges that say where they are from, the same from a seed, with the noise asked for."""

import numpy as np
import pytest
import yaml

from rt_engine.interfaces.errors import ConfigError
from rt_engine.models.randomisation import SHIPPED_RANGES, Law, Range, load_randomisation
from rt_engine.models.synthetic_traces import synthetic_traces

RANGES = load_randomisation()


def only(part, **values):
    """Ranges of a part at fixed values, the rest of the recording's at none."""
    fixed = {name: Range(low=value, high=value, law=Law.UNIFORM, source="test") for name, value in values.items()}
    return getattr(RANGES, part).model_copy(update=fixed)


def quiet(**recording):
    none = dict.fromkeys(
        ("noise_correlation", "heavy_tails", "lost_samples", "saturated", "motion_per_s", "neuropil_dff", "drift_dff",
         "bleaching"), 0.0,
    )  # fmt: skip
    return RANGES.model_copy(update={"recording": only("recording", **(none | recording))})


def test_every_range_says_where_it_is_from():
    for part in ("recording", "indicator", "spikes"):
        for name, entry in yaml.safe_load(SHIPPED_RANGES.read_text("utf-8"))[part].items():
            tag, _, source = entry["source"].partition(": ")
            assert tag in {"S", "S2", "M", "P", "C"}, name
            assert len(source) > 10, name


@pytest.mark.parametrize("law", list(Law))
def test_what_is_drawn_lies_in_its_range_and_reaches_its_ends(law):
    drawn = Range(low=2, high=8, law=law, source="test").draw(np.random.default_rng(0), 4000)
    assert drawn.min() >= 2
    assert drawn.max() <= 8
    assert np.quantile(drawn, [0.01, 0.99]) == pytest.approx([2, 8], abs=0.2)
    expected = 2 * np.log(2) / np.log(2) * 2 if law is Law.LOG else 5  # the middle: 4 of logarithms, 5 of numbers
    assert np.median(drawn) == pytest.approx(expected, abs=0.3)


def test_a_chance_leaves_the_others_without():
    drawn = Range(low=1, high=2, law=Law.UNIFORM, chance=0.3, source="test").draw(np.random.default_rng(0), 4000)
    assert np.mean(drawn > 0) == pytest.approx(0.3, abs=0.03)


def test_a_range_is_narrowed_about_its_middle():
    narrow = Range(low=0.25, high=4, law=Law.LOG, source="test").narrowed(0.5)
    assert (narrow.low, narrow.high) == pytest.approx((0.5, 2))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [("low: 8, high: 60", "low: 80, high: 60", "frame_rate_hz"), ("  noise:", "  nois:", "nois")],
)
def test_a_wrong_range_is_refused_by_name(tmp_path, old, new, key):
    path = tmp_path / "ranges.yaml"
    path.write_text(SHIPPED_RANGES.read_text("utf-8").replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigError, match=key) as refused:
        load_randomisation(path)
    assert str(path) in refused.value.message


def test_the_same_seed_gives_the_same_traces_and_another_one_others():
    one, same, other = (synthetic_traces(RANGES, seed, 4, 20.0) for seed in ((3, 1), (3, 1), (3, 3)))
    assert one.traces.tobytes() == same.traces.tobytes()
    assert one.counts.tobytes() == same.counts.tobytes()
    assert one.counts.tobytes() != other.counts.tobytes()


def test_silent_cells_have_the_noise_asked_for():
    ranges = quiet(noise=4.0)
    ranges = ranges.model_copy(update={"spikes": only("spikes", rate_hz=0.0)})
    found = synthetic_traces(ranges, (5, 1), 20, 60.0)
    assert found.counts.sum() == 0
    told = 100 * np.std(found.traces, axis=1) / np.sqrt(found.frame_rate_hz)
    np.testing.assert_allclose(told, 4.0, rtol=0.1)
    step = np.diff(found.traces, axis=1)
    correlation = np.mean(step[:, 1:] * step[:, :-1], axis=1) / np.mean(step**2, axis=1)
    np.testing.assert_allclose(np.mean(correlation), -0.5, atol=0.02)  # white


def test_light_follows_the_spikes():
    ranges = quiet(noise=0.001)
    ranges = ranges.model_copy(update={"spikes": only("spikes", rate_hz=0.3, modulation_depth=0.0)})
    found = synthetic_traces(ranges, (5, 3), 20, 60.0)
    lit = np.diff(found.traces, axis=1) > 0.1 * found.traces.max(axis=1, keepdims=True)
    fired = found.counts[:, 1:] > 0
    just_before = fired | np.pad(fired, ((0, 0), (1, 0)))[:, :-1] | np.pad(fired, ((0, 0), (2, 0)))[:, :-2]
    just_before |= np.pad(fired, ((0, 0), (4, 0)))[:, :-4] | np.pad(fired, ((0, 0), (3, 0)))[:, :-3]
    assert lit.sum() > 50
    assert just_before[lit].mean() > 0.97


def test_lost_samples_are_missing_and_bleaching_takes_light():
    found = synthetic_traces(quiet(noise=0.5, lost_samples=0.02), (5, 5), 20, 60.0)
    assert np.isnan(found.traces).mean() == pytest.approx(0.02, abs=0.005)
    ranges = quiet(noise=0.1, bleaching=0.6, bleaching_s=100.0)
    silent = ranges.model_copy(update={"spikes": only("spikes", rate_hz=0.0)})
    left = 1 + synthetic_traces(silent, (5, 7), 4, 90.0).traces
    step = left[:, -30:].mean(axis=1) - left[:, :30].mean(axis=1)
    expected = 0.6 * (np.exp(-89.5 / 100) - np.exp(-0.5 / 100))
    np.testing.assert_allclose(step / left[:, :30].mean(axis=1) * (1 - 0.6 * (1 - np.exp(-0.005))), expected, rtol=0.35)
