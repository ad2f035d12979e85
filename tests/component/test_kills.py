"""The operator is killed right after its n-th request and started again: it ends where it would
have, and there are never two live Jobs of one FineTuneJob.
"""

import itertools
import random

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.support.faults.runs import Kill, Stage, all_of
from tests.support.faults.scenarios import SCENARIOS

AT_ONCE = 10
# An operator starts with 10 requests, and no scenario has fewer than 16.
SAMPLED_CALLS = range(10, 16)


@pytest.mark.timeout(180)
async def test_operator_killed_after_some_request_ends_where_it_would_have(
    plane: ControlPlane, operator_token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(1)
    async with Stage(plane, token=operator_token, at_once=AT_ONCE) as stage:
        runs = await all_of(
            stage.play(scenario, kill=Kill(call=dice.choice(SAMPLED_CALLS), passed_on=passed_on))
            for passed_on, scenario in zip(
                itertools.cycle((False, True)), SCENARIOS.values(), strict=False
            )
        )
    assert all(run.killed for run in runs)
    with capsys.disabled():
        print(f"\n{len(SCENARIOS)} scenarios x 1 kill")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_operator_killed_after_any_request_ends_where_it_would_have(
    plane: ControlPlane, operator_token: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = SCENARIOS[name]
    async with Stage(plane, token=operator_token, at_once=AT_ONCE) as stage:
        calls = (await stage.play(scenario)).calls
        runs = await all_of(
            stage.play(scenario, kill=Kill(call=call, passed_on=call % 2 == 0))
            for call in range(1, calls + 1)
        )
    # The number of requests varies a little: some runs are over before the last ones.
    assert all(run.killed or run.calls < call for call, run in enumerate(runs, 1))
    kills = sum(run.killed for run in runs)
    assert kills > calls / 2
    with capsys.disabled():
        print(f"\n{name}: {kills} kills")
