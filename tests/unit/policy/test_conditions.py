"""Conditions do not flap: times move with the status only."""

import pytest
from finetune_operator.api.kubernetes import Condition
from finetune_operator.policy.conditions import Conditions

from tests.support.builders import NOW, later


def test_transition_time_moves_with_the_status_only() -> None:
    first = Conditions((), now=NOW, generation=1)
    first.set("Running", True, "Training")
    second = Conditions(first.all(), now=later(60), generation=2)
    second.set("Running", True, "Evaluating", "Almost there.")
    (kept,) = second.all()
    assert (kept.reason, kept.last_transition_time) == ("Evaluating", NOW)
    assert kept.observed_generation == 2
    third = Conditions(second.all(), now=later(90), generation=2)
    third.set("Running", False, "Complete")
    assert third.all()[0].last_transition_time == later(90)


def test_setting_the_same_again_changes_nothing() -> None:
    first = Conditions((), now=NOW, generation=1)
    first.set("Running", True, "Training", "x")
    second = Conditions(first.all(), now=later(60), generation=1)
    second.set("Running", True, "Training", "x")
    assert second.all() == first.all()


def test_condition_that_never_was_is_not_cleared_into_being() -> None:
    conditions = Conditions((), now=NOW, generation=1)
    conditions.clear("Suspended", "Resumed")
    assert conditions.all() == ()
    conditions.set("Suspended", True, "Suspended")
    conditions.clear("Suspended", "Resumed")
    assert [(each.type, each.status) for each in conditions.all()] == [("Suspended", "False")]


def test_order_is_fixed_and_a_condition_of_someone_else_stays_at_the_end() -> None:
    foreign = Condition(type="example.test/Billed", status="True")
    conditions = Conditions((foreign,), now=NOW, generation=1)
    for ours in ("Failed", "Running", "Suspended"):
        conditions.set(ours, True, "X")
    types = [each.type for each in conditions.all()]
    assert types == ["Suspended", "Running", "Failed", "example.test/Billed"]


@pytest.mark.parametrize(("reason", "written"), [("", "Unknown"), ("R" * 5000, "R" * 128)])
def test_reason_is_one_that_the_api_server_takes(reason: str, written: str) -> None:
    conditions = Conditions((), now=NOW, generation=1)
    conditions.set("Failed", True, reason)
    assert conditions.all()[0].reason == written


def test_long_message_is_cut_to_what_the_api_server_takes() -> None:
    conditions = Conditions((), now=NOW, generation=1)
    conditions.set("Failed", True, "X", "y" * 40_000)
    assert len(conditions.all()[0].message) == 1024
