"""The progress of a run, and the time that it still takes."""

import pytest
from finetune_trainer.pipeline import STAGES, Stage
from finetune_trainer.supervisor.estimate import Estimate
from hypothesis import given, settings
from hypothesis import strategies as st

TABLE = (Stage("fetch", "", 10), Stage("fit", "", 80), Stage("export", "", 10))


def test_progress_is_weighted_by_stage() -> None:
    estimate = Estimate(TABLE)
    estimate.start("fit")
    estimate.advance(0.5, now=45)
    assert estimate.fraction == pytest.approx(0.5)


def test_remaining_time_follows_the_speed_of_the_current_stage() -> None:
    estimate = Estimate(TABLE)
    estimate.start("fit")
    estimate.advance(0.0, now=100)
    assert estimate.remaining_seconds(now=100) is None
    estimate.advance(0.25, now=120)
    # 80 s for the stage: 60 are left, and 10 for the export by its weight.
    assert estimate.remaining_seconds(now=120) == 70
    assert estimate.remaining_seconds(now=140) == 50
    assert estimate.remaining_seconds(now=1000) == 10


def test_remaining_time_knows_that_a_resumed_stage_starts_with_a_jump() -> None:
    estimate = Estimate(TABLE)
    estimate.start("fit")
    for second in range(1, 11):
        estimate.advance(0.5 + second / 1000, now=second)
    assert estimate.remaining_seconds(now=10) == pytest.approx(490 + 125, abs=2)


def test_a_thousand_reports_a_second_do_not_hide_the_speed() -> None:
    estimate = Estimate(TABLE)
    estimate.start("fit")
    for number in range(30_001):
        estimate.advance(number / 60_000, now=number / 1000)
    assert estimate.remaining_seconds(now=30) == pytest.approx(30 + 7.5, abs=1)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([stage.name for stage in STAGES]), st.floats(-1, 2), st.floats(0, 100)
        )
    )
)
def test_progress_never_decreases_and_stays_between_0_and_1(
    steps: list[tuple[str, float, float]],
) -> None:
    estimate, now, last = Estimate(STAGES), 0.0, 0.0
    for name, fraction, seconds in steps:
        now += seconds
        estimate.start(name)
        estimate.advance(fraction, now=now)
        assert last <= estimate.fraction <= 1
        last = estimate.fraction
        assert (estimate.remaining_seconds(now=now) or 0) >= 0
