from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Cache

from bench import requests

ANSWERED = """\
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",resource="pods",subresource="status",verb="PATCH"} 3
apiserver_request_total{code="409",resource="pods",subresource="status",verb="PATCH"} 1
apiserver_request_total{code="201",resource="jobs",subresource="",verb="POST"} 1.5e+06
apiserver_request_total{code="200",resource="leases",subresource="",verb="PUT"} 9
apiserver_request_duration_seconds_count{resource="jobs",subresource="",verb="POST"} 7
"""


def test_answers_of_all_codes_are_counted_together_and_other_resources_not() -> None:
    counts = requests.count_answered(ANSWERED)
    assert counts == {("PATCH", "pods/status"): 4, ("POST", "jobs"): 1_500_000}


async def test_what_the_operator_sent_is_read_from_its_own_page() -> None:
    metrics = Metrics(Cache())
    for code in ("200", "200", "409"):
        metrics.process.requests.labels("patch", "finetunejobs/status", code).inc()
    body, _ = await metrics.page("")
    assert requests.count_sent(body.decode()) == {("patch", "finetunejobs/status"): 3}


def test_an_operator_that_does_not_answer_has_sent_nothing() -> None:
    assert requests.count_sent("") == {}
