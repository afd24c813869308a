"""Light needs every engine: one that is silent, or not live, is as good as none."""

from __future__ import annotations

from rt_engine.interfaces.messages import Mode
from rt_engine.safety.plane_heartbeats import PlaneHeartbeats

LIVE_NS, IDLE_NS = 1000, 10_000


def test_not_fresh_before_every_plane_has_spoken():
    beats = PlaneHeartbeats(LIVE_NS, IDLE_NS, [0, 1])
    beats.beat(0, Mode.LIVE, 0)
    assert beats.mode is None
    assert not beats.fresh(0)
    beats.beat(0, Mode.LIVE, 1)
    assert beats.mode is Mode.LIVE
    assert beats.fresh(LIVE_NS)


def test_a_plane_that_falls_silent_is_named_though_the_others_go_on():
    beats = PlaneHeartbeats(LIVE_NS, IDLE_NS, [0, 1, 2])
    for plane in (0, 1, 2):
        beats.beat(0, Mode.LIVE, plane)
    beats.beat(5000, Mode.LIVE, 0)
    beats.beat(5000, Mode.LIVE, 2)
    assert not beats.fresh(5000)
    assert beats.silent(5000) == "the engine of plane 1"
    assert beats.age_ns(5000) == 5000


def test_one_plane_that_is_not_live_makes_the_whole_not_live():
    beats = PlaneHeartbeats(LIVE_NS, IDLE_NS, [0, 1])
    beats.beat(0, Mode.LIVE, 0)
    beats.beat(0, Mode.PAUSED, 1)
    assert beats.mode is Mode.PAUSED


def test_a_plane_of_no_rig_is_no_sign_of_life():
    beats = PlaneHeartbeats(LIVE_NS, IDLE_NS, [0, 1])
    for plane in (0, 1):
        beats.beat(0, Mode.LIVE, plane)
    beats.beat(9000, Mode.LIVE, 10)
    assert not beats.fresh(9000)


def test_after_forgetting_every_plane_has_to_speak_again():
    beats = PlaneHeartbeats(LIVE_NS, IDLE_NS, [0, 1])
    for plane in (0, 1):
        beats.beat(0, Mode.LIVE, plane)
    beats.forget()
    beats.beat(0, Mode.LIVE, 0)
    assert not beats.fresh(0)
