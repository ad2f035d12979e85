"""The claim that the operator creates: made once, used again, and never a stranger's."""

import copy
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from finetune_operator.api import constants as c
from finetune_operator.api.types import FineTuneJob
from finetune_operator.children.workspace import build_claim, ensure_claim
from finetune_operator.kube.client import Client
from finetune_operator.policy.plan import Blocked

from tests.support.api_server import Answer, ApiServer, Body, serving
from tests.support.builders import make_job
from tests.support.manifests import pod_of


class Claims:
    """The claims of a namespace, behind HTTP."""

    def __init__(self) -> None:
        self.server = ApiServer(self._answer)
        self.claim: Body | None = None
        self.fail = 0

    def _answer(self, request: web.Request, body: Body) -> Answer:
        if self.fail:
            return Answer({"message": "exceeded quota: disk"}, status=self.fail)
        if request.method == "GET":
            return Answer(self.claim) if self.claim else Answer({}, status=404)
        if self.claim:
            return Answer({"message": "already exists"}, status=409)
        self.claim = copy.deepcopy(body)
        return Answer(body)


@pytest.fixture
def claims() -> Claims:
    return Claims()


@pytest.fixture
async def client(claims: Claims) -> AsyncIterator[Client]:
    async with serving(claims.server) as client:
        yield client


def job(uid: str = "job-uid", **workspace: object) -> FineTuneJob:
    return make_job(uid=uid, workspace={"size": "20Gi", **workspace})


def reason_and_retry(blocked: Blocked | None) -> tuple[str, float | None]:
    assert blocked
    return blocked.failure.reason, blocked.retry_after_seconds


async def test_claim_is_created_once(claims: Claims, client: Client) -> None:
    for _ in range(2):
        assert await ensure_claim(client, job()) is None
    assert claims.claim
    assert claims.claim["metadata"]["name"] == "photos-workspace"
    path = "/api/v1/namespaces/team/persistentvolumeclaims"
    assert claims.server.requests[0][:2] == ("POST", path)


@pytest.mark.parametrize("workspace", [None, {"claimName": "mine"}])
async def test_nothing_is_created_for_others(
    claims: Claims, client: Client, workspace: object
) -> None:
    assert await ensure_claim(client, make_job(workspace=workspace)) is None
    assert claims.server.requests == []


async def test_claim_that_an_earlier_job_of_the_name_left_is_used_again(
    claims: Claims, client: Client
) -> None:
    await ensure_claim(client, job(uid="earlier"))
    assert await ensure_claim(client, job(uid="later", size="40Gi")) is None


async def test_claim_whose_shared_labels_a_policy_rewrote_is_used_again(
    claims: Claims, client: Client
) -> None:
    await ensure_claim(client, job())
    assert claims.claim
    shared = [key for key in claims.claim["metadata"]["labels"] if key.startswith("app.")]
    claims.claim["metadata"]["labels"] |= dict.fromkeys(shared, "platform-team")
    assert await ensure_claim(client, job()) is None


async def test_claim_that_goes_with_an_earlier_job_is_waited_for(
    claims: Claims, client: Client
) -> None:
    await ensure_claim(client, job(uid="earlier", reclaimPolicy="Delete"))
    assert await ensure_claim(client, job(uid="earlier", reclaimPolicy="Delete")) is None
    later = await ensure_claim(client, job(uid="later", reclaimPolicy="Delete"))
    assert reason_and_retry(later) == (c.NAME_TAKEN, Blocked.WAIT_FOR_NAME_SECONDS)


async def test_claim_that_is_being_deleted_is_waited_for(claims: Claims, client: Client) -> None:
    await ensure_claim(client, job())
    assert claims.claim
    claims.claim["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    assert reason_and_retry(await ensure_claim(client, job()))[1] == Blocked.WAIT_FOR_NAME_SECONDS


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({}, id="a user's"),
        pytest.param(
            {"labels": {c.LABEL_MANAGED_BY: c.MANAGER}}, id="without the operator's label"
        ),
        pytest.param(
            {"ownerReferences": [{"kind": "StatefulSet", "uid": "x", "controller": True}]},
            id="a StatefulSet's",
        ),
    ],
)
async def test_strangers_claim_is_not_used(claims: Claims, client: Client, metadata: Body) -> None:
    claims.claim = {"metadata": {"name": "photos-workspace", **metadata}}
    blocked = await ensure_claim(client, job())
    assert reason_and_retry(blocked) == (c.NAME_TAKEN, None)
    assert blocked
    assert "workspace.claimName" in blocked.failure.hint


async def test_refused_claim_is_told_and_tried_again(claims: Claims, client: Client) -> None:
    claims.fail = 403
    blocked = await ensure_claim(client, job())
    assert reason_and_retry(blocked) == (c.CREATE_REFUSED, Blocked.RETRY_SECONDS)
    assert blocked
    assert "exceeded quota" in blocked.failure.message
    claims.fail = 503
    blocked = await ensure_claim(client, job())
    assert reason_and_retry(blocked) == (c.CREATE_REFUSED, Blocked.RETRY_SOON_SECONDS)


class TestManifest:
    def test_claim_is_created_with_what_is_asked(self) -> None:
        workspace = {
            "size": "20Gi",
            "storageClassName": "fast",
            "accessModes": ["ReadWriteMany"],
        }
        claim = build_claim(make_job(workspace=workspace))
        assert claim
        assert claim["spec"] == {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "20Gi"}},
            "storageClassName": "fast",
        }
        plain = build_claim(make_job(workspace={"size": 1}))
        assert plain
        assert plain["spec"]["accessModes"] == ["ReadWriteOnce"]
        assert "storageClassName" not in plain["spec"]

    def test_claim_goes_with_the_job_only_if_it_is_to_be_deleted(self) -> None:
        retained = build_claim(make_job(workspace={"size": "1Gi"}))
        deleted = build_claim(make_job(workspace={"size": "1Gi", "reclaimPolicy": "Delete"}))
        assert retained
        assert deleted
        assert "ownerReferences" not in retained["metadata"]
        assert retained["metadata"]["labels"][c.LABEL_JOB] == "photos"
        (owner,) = deleted["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == ("job-uid", True)

    def test_existing_claim_or_none_is_not_created(self) -> None:
        assert build_claim(make_job(workspace={"claimName": "mine"})) is None
        assert build_claim(make_job()) is None

    def test_pod_mounts_the_claim_that_is_created(self) -> None:
        (volume,) = (
            v
            for v in pod_of(make_job(workspace={"size": "1Gi"}))["volumes"]
            if v["name"] == "workspace"
        )
        assert volume["persistentVolumeClaim"] == {"claimName": "photos-workspace"}
