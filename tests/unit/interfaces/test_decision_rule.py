"""A rig file decides by a rate of false events or by their cost, never by both."""

import pytest
from pydantic import ValidationError

from rt_engine.interfaces.service_config import InferenceConfig


def test_half_a_false_event_a_minute_where_nothing_is_said():
    assert InferenceConfig().false_alarms_per_min == 0.5
    assert InferenceConfig().false_event_cost is None


def test_a_cost_takes_the_place_of_the_rate_and_stays_so_when_written_and_read():
    by_cost = InferenceConfig(false_event_cost=3)
    assert (by_cost.false_event_cost, by_cost.false_alarms_per_min) == (3, None)
    for config in (by_cost, InferenceConfig(), InferenceConfig(false_alarms_per_min=1)):
        assert InferenceConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"false_event_cost": 1, "false_alarms_per_min": 1}, "exclude each other"),
        ({"false_event_cost": 1, "hold_frames": 0}, "hold_frames of at least 1"),
        ({"false_event_cost": 9}, "less than or equal to 8"),
        ({"false_event_cost": 0}, "greater than 0"),
    ],
)
def test_what_cannot_be_is_refused_in_words(values, words):
    with pytest.raises(ValidationError, match=words):
        InferenceConfig(**values)
