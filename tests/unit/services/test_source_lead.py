"""A source that may wait is never further ahead than allowed, of whichever consumer is slowest."""

from rt_engine.services.source_lead import SourceLead


def test_the_slowest_of_inference_and_recorder_decides():
    lead = SourceLead([0], 3)
    for frame in (10, 11, 12):
        assert lead.allows_more()
        lead.sent(0, frame)
    assert not lead.allows_more()
    lead.decided(0, 12)
    assert not lead.allows_more()
    lead.written(0, 10)
    assert lead.allows_more()


def test_every_plane_counts_and_an_answer_of_one_is_none_of_another():
    lead = SourceLead([0, 1], 2)
    lead.sent(0, 0)
    lead.sent(1, 1)
    lead.written(0, 0)
    lead.written(1, 1)
    assert not lead.allows_more()
    lead.decided(0, 5)
    assert lead.allows_more()
    lead.sent(0, 2)
    assert not lead.allows_more()
    lead.decided(0, 2)
    assert lead.allows_more()
    lead.written(0, 2)
    lead.sent(0, 4)
    assert not lead.allows_more()
    lead.decided(1, 1)
    assert lead.allows_more()


def test_frames_of_planes_that_nobody_infers_hold_nothing_up():
    lead = SourceLead([0], 1)
    for frame in range(50):
        lead.sent(7, frame)
    lead.decided(7, 1)
    lead.written(7, 1)
    assert lead.allows_more()
