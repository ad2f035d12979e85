"""The clock follows the API server's, however far off this machine's is."""

import datetime
import logging
import re
import time
from email.utils import formatdate

import pytest
from finetune_operator.kube.server_clock import ServerClock

from tests.support.api_server import Answer, ApiServer, serving

TRIP = 0.05


def ahead(clock: ServerClock) -> float:
    """Return how far the clock is ahead of this machine's."""
    return clock.precise().timestamp() - time.time()


def answer(clock: ServerClock, skew: float, *, at: float, trip: float = TRIP) -> None:
    """Let a server whose clock is `skew` seconds ahead answer at this local time."""
    date = formatdate(int(at + skew), usegmt=True)
    clock.observe(date, sent=at - trip / 2, received=at + trip / 2)


@pytest.mark.parametrize("skew", [-7200, -180, -3, 3, 180, 7200])
def test_clock_is_the_servers_within_a_second(skew: float) -> None:
    clock = ServerClock()
    answer(clock, skew, at=100_000.7)
    assert ahead(clock) == pytest.approx(skew, abs=1.3)


def test_more_answers_make_it_more_precise_and_then_it_stays() -> None:
    clock = ServerClock()
    for tenth in range(10):
        answer(clock, 180.5, at=100_000 + tenth / 10)
    assert ahead(clock) == pytest.approx(180.5, abs=0.2)
    settled = clock._ahead
    for tenth in range(10):
        answer(clock, 180.5, at=200_000 + tenth / 10)
    assert clock._ahead == settled


def test_slow_answer_says_little_and_changes_little() -> None:
    clock = ServerClock()
    answer(clock, 0, at=100_000, trip=20)
    assert ahead(clock) == pytest.approx(0, abs=0.1)


def test_clock_that_is_set_right_is_followed() -> None:
    clock = ServerClock()
    answer(clock, 180, at=100_000)
    answer(clock, 0, at=1001)
    assert ahead(clock) == pytest.approx(0, abs=1.3)


@pytest.mark.parametrize("date", ["", "now", "Thu, 01 Jan 99999999999 12:00:00 GMT"])
def test_answer_without_a_date_changes_nothing(date: str) -> None:
    clock = ServerClock()
    clock.observe(date, sent=0, received=1)
    assert ahead(clock) == pytest.approx(0, abs=0.1)


def test_clock_that_is_off_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = ServerClock()
    with caplog.at_level(logging.WARNING):
        for second in range(5):
            answer(clock, -180, at=100_000 + second)
    (record,) = caplog.records
    assert re.search("about (179|180) s ahead of the API server's", record.getMessage())


async def test_client_has_the_clock_of_its_api_server() -> None:
    date = formatdate(time.time() + 300, usegmt=True)
    server = ApiServer(lambda request, body: Answer({"metadata": {}}, Date=date))
    async with serving(server) as client:
        before = client.clock.now()
        await client.get("/api", dict)
        assert client.clock.now() - before > datetime.timedelta(seconds=295)
        assert client.clock.now().microsecond == 0


async def test_refusal_has_the_clock_of_its_api_server_too() -> None:
    date = formatdate(time.time() + 300, usegmt=True)
    server = ApiServer(lambda request, body: Answer({}, status=404, Date=date))
    async with serving(server) as client:
        with pytest.raises(Exception, match="404"):
            await client.get("/api", dict)
        assert ahead(client.clock) > 295
