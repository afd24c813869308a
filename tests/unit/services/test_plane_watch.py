"""A plane that never comes is found out, and one that nobody asked for is said once."""

from rt_engine.services.plane_watch import PlaneWatch


def test_a_plane_that_never_comes_is_named_after_the_patience_and_not_before():
    watch = PlaneWatch([0, 1, 2], 0, 100)
    assert watch.missing(1_000_000) == ()
    watch.see(1, 0, 500)
    assert watch.missing(599) == ()
    assert watch.missing(600) == (0, 2)
    watch.see(0, 0, 700)
    watch.see(2, 1, 700)
    assert watch.missing(800) == (2,)
    assert watch.seen() == "0.0, 1.0, 2.1"
    watch.see(2, 0, 900)
    assert watch.missing(10_000) == ()


def test_what_is_not_inferred_is_said_once():
    watch = PlaneWatch([0, 1], 1, 100)
    assert watch.see(0, 1, 0) == ""
    assert "channel 0 of plane 0" in watch.see(0, 0, 0)
    assert watch.see(0, 0, 0) == ""
    assert watch.see(7, 1, 0).startswith("plane 7 comes as well")


def test_the_structural_channel_is_used_and_not_worth_a_word():
    watch = PlaneWatch([0], 1, 100, 0)
    assert watch.see(0, 0, 0) == ""
    assert watch.missing(100) == (0,)


def test_a_slow_source_is_waited_for():
    watch = PlaneWatch([0, 1], 0, 100)
    watch.bear(300)
    watch.bear(50)
    watch.see(0, 0, 0)
    assert watch.missing(299) == ()
    assert watch.missing(300) == (1,)
