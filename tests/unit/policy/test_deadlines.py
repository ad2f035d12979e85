"""Clocks run on timestamps in the objects."""

from finetune_operator.policy import deadlines
from finetune_operator.policy.deadlines import Clock

from tests.support.builders import (
    NOW,
    later,
    make_attempt,
    make_ended_pod,
    make_job,
    make_pod,
    make_status,
)


def test_clock_expires_at_its_time_and_remains_until_then() -> None:
    clock = Clock(later(10))
    assert [clock.expired(later(seconds)) for seconds in (9, 10, 11)] == [False, True, True]
    assert [clock.remaining(later(seconds)) for seconds in (0, 10, 11)] == [10, 0, 0]


def test_clock_that_is_not_set_never_comes() -> None:
    assert not Clock(None).expired(later(10**9))
    assert Clock(None).remaining(NOW) is None


def test_first_of_several_clocks_is_the_earliest_that_comes() -> None:
    clocks = (Clock(later(30)), Clock(None), Clock(later(10)))
    assert deadlines.first(NOW, *clocks) == 10
    assert deadlines.first(NOW, Clock(None)) is None


def test_active_clock_starts_with_the_first_run_only() -> None:
    spec = make_job(activeDeadlineSeconds=60).spec
    assert deadlines.active(spec, make_status()).due is None
    assert deadlines.active(spec, make_status(active_since=NOW)).due == later(60)
    assert deadlines.active(make_job().spec, make_status(active_since=NOW)).due is None


def test_time_to_live_starts_with_the_end() -> None:
    spec = make_job(ttlSecondsAfterFinished=0).spec
    assert deadlines.time_to_live(spec, make_status()).due is None
    assert deadlines.time_to_live(spec, make_status(completion_time=NOW)).due == NOW


def test_attempt_awaits_its_start_from_its_release_to_its_first_pod() -> None:
    assert deadlines.awaits_start(make_attempt(1))
    assert deadlines.awaits_start(make_attempt(1, make_pod("Pending")))
    assert not deadlines.awaits_start(make_attempt(1, suspended=True))
    assert not deadlines.awaits_start(make_attempt(1, make_pod()))
    assert not deadlines.awaits_start(make_attempt(1, make_ended_pod(1)))
    assert not deadlines.awaits_start(make_attempt(1, ended="Failed"))
    assert not deadlines.awaits_start(make_attempt(1, deleting=True))
