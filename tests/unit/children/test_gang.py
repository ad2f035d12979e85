"""What a gang needs before its pods are made: its Service, and a claim that all can mount."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from finetune_operator.api import constants as c
from finetune_operator.api.types import FineTuneJob
from finetune_operator.children.gang import build_service, ensure_gang
from finetune_operator.kube.client import Client
from finetune_operator.policy.plan import Blocked

from tests.support.api_server import Answer, ApiServer, Body, serving
from tests.support.builders import NAME, UID, make_job


class Namespace:
    """A claim and the Services of a namespace, behind HTTP."""

    def __init__(self) -> None:
        self.server = ApiServer(self._answer)
        self.modes: list[str] | None = ["ReadWriteMany"]
        self.service: Body | None = None
        self.fail = 0
        self.fail_claims = 0

    def _answer(self, request: web.Request, body: Body) -> Answer:
        if "persistentvolumeclaims" in request.path:
            if self.fail_claims:
                return Answer({"message": "no rights"}, status=self.fail_claims)
            claim = {"metadata": {"name": "work"}, "spec": {"accessModes": self.modes}}
            return Answer(claim) if self.modes else Answer({}, status=404)
        if request.method == "GET":
            return Answer(self.service or {})
        if self.fail:
            return Answer({"message": "no Services here"}, status=self.fail)
        if self.service:
            return Answer({"message": "already exists"}, status=409)
        self.service = body
        return Answer(body)


@pytest.fixture
def namespace() -> Namespace:
    return Namespace()


@pytest.fixture
async def client(namespace: Namespace) -> AsyncIterator[Client]:
    async with serving(namespace.server) as client:
        yield client


def gang(uid: str = UID, **trainer: Any) -> FineTuneJob:
    trainer = {"numNodes": 2, **trainer}
    return make_job(uid=uid, trainer=trainer, workspace={"claimName": "work"})


def reason_and_retry(blocked: Blocked | None) -> tuple[str, float | None]:
    assert blocked
    return blocked.failure.reason, blocked.retry_after_seconds


async def test_service_is_created_once(namespace: Namespace, client: Client) -> None:
    for _ in range(2):
        assert await ensure_gang(client, gang()) is None
    assert namespace.service
    assert namespace.service["metadata"]["name"] == "photos-gang"


async def test_job_of_one_pod_needs_nothing(namespace: Namespace, client: Client) -> None:
    assert await ensure_gang(client, gang(numNodes=1)) is None
    assert namespace.server.requests == []


async def test_claim_of_one_node_is_told_and_looked_at_again(
    namespace: Namespace, client: Client
) -> None:
    namespace.modes = ["ReadWriteOnce"]
    blocked = await ensure_gang(client, gang())
    assert reason_and_retry(blocked) == (c.WORKSPACE_NOT_SHARED, 15)
    assert blocked
    assert "'work' is ReadWriteOnce" in blocked.failure.message
    assert "ReadWriteMany" in blocked.failure.hint
    assert namespace.service is None


async def test_claim_that_is_not_there_is_left_to_the_pods_to_tell(
    namespace: Namespace, client: Client
) -> None:
    namespace.modes = None
    assert await ensure_gang(client, gang()) is None


async def test_service_of_an_earlier_job_is_waited_for(
    namespace: Namespace, client: Client
) -> None:
    await ensure_gang(client, gang(uid="earlier"))
    assert reason_and_retry(await ensure_gang(client, gang())) == (c.NAME_TAKEN, 2)


async def test_strangers_service_ends_the_job(namespace: Namespace, client: Client) -> None:
    namespace.service = {"metadata": {"name": "photos-gang"}}
    assert reason_and_retry(await ensure_gang(client, gang())) == (c.NAME_TAKEN, None)


async def test_refused_service_is_reason_and_retry(namespace: Namespace, client: Client) -> None:
    namespace.fail = 403
    blocked = await ensure_gang(client, gang())
    assert reason_and_retry(blocked) == (c.CREATE_REFUSED, 15)
    assert blocked
    assert "no Services here" in blocked.failure.message


async def test_claim_that_cannot_be_read_is_told(namespace: Namespace, client: Client) -> None:
    namespace.fail_claims = 403
    blocked = await ensure_gang(client, gang())
    assert reason_and_retry(blocked) == (c.CREATE_REFUSED, 15)
    assert blocked
    assert "PersistentVolumeClaim 'work' cannot be read" in blocked.failure.message


def test_service_names_pods_before_they_are_ready() -> None:
    service = build_service(gang())
    assert service
    spec = service["spec"]
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
    assert spec["selector"] == {c.LABEL_JOB: NAME}
    assert service["metadata"]["ownerReferences"][0]["uid"] == UID
    assert build_service(make_job()) is None
