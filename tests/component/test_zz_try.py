import pytest, asyncio
from tests.faults.runs import Stage, all_of
from tests.faults.scenarios import SCENARIOS
from tests.faults.trouble import Trouble
pytestmark = pytest.mark.timeout(500)
async def test_it(plane, operator_token):
    async with Stage(plane, token=operator_token, at_once=10) as stage:
        await all_of(stage.play(SCENARIOS["suspended before it runs"], trouble=Trouble("unanswered", seed=s)) for s in range(40))
