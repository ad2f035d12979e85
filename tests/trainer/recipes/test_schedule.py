"""The learning rate as a function of the epoch."""

import itertools

import pytest
from finetune_trainer.recipes.schedule import RateSchedule

ALL = [
    RateSchedule(),
    RateSchedule("step", step_epochs=(4, 6), factor=0.5),
    RateSchedule("cosine"),
    RateSchedule("onecycle"),
]


def test_constant_keeps_the_rate_of_the_optimizer() -> None:
    assert [RateSchedule().rate(epoch, epochs=8) for epoch in (0, 3.5, 8)] == [1, 1, 1]


def test_step_lowers_the_rate_when_so_many_epochs_are_done() -> None:
    schedule = RateSchedule("step", step_epochs=(4, 6), factor=0.5)
    assert [schedule.rate(epoch, epochs=8) for epoch in (0, 3.9, 4, 6, 7)] == [
        1,
        1,
        0.5,
        0.25,
        0.25,
    ]


def test_cosine_falls_from_one_to_zero() -> None:
    rates = [RateSchedule("cosine").rate(epoch, epochs=4) for epoch in range(5)]
    assert rates == pytest.approx([1, 0.8536, 0.5, 0.1464, 0], abs=1e-4)


def test_one_cycle_rises_for_three_tenths_and_falls_almost_to_zero() -> None:
    rates = [RateSchedule("onecycle").rate(epoch, epochs=10) for epoch in (0, 1, 2, 3, 5, 8, 10)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[3] == max(rates) == 1
    assert rates[:4] == sorted(rates[:4])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] == pytest.approx(1e-4)


@pytest.mark.parametrize("schedule", ALL, ids=lambda schedule: schedule.name)
def test_warm_up_rises_linearly_from_zero_and_meets_the_schedule(schedule: RateSchedule) -> None:
    warm = RateSchedule(
        schedule.name, warmup_epochs=2, step_epochs=schedule.step_epochs, factor=schedule.factor
    )
    assert [warm.rate(epoch, epochs=10) for epoch in (0, 0.5, 1)] == [0, 0.25, 0.5]
    if schedule.name != "onecycle":
        assert warm.rate(2, epochs=10) == 1


@pytest.mark.parametrize("schedule", ALL, ids=lambda schedule: schedule.name)
def test_no_rate_is_negative_or_above_one(schedule: RateSchedule) -> None:
    for warmup, epochs, tenth in itertools.product((0, 0.5, 3), (1, 2, 9), range(101)):
        warm = RateSchedule(schedule.name, warmup_epochs=warmup, step_epochs=schedule.step_epochs)
        assert 0 <= warm.rate(tenth / 100 * epochs, epochs=epochs) <= 1
