"""A scripted API server with one FineTuneJob, for the tests of reconcile."""

import copy
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web
from finetune_operator.api.kubernetes import Event
from finetune_operator.api.types import FineTuneJob
from finetune_operator.observe.cache import Cache

from tests.support.api_server import Answer, ApiServer, Body
from tests.support.builders import (
    NAMESPACE,
    make_job,
)

KEY = (NAMESPACE, "photos")


class ScriptedCluster:
    """A FineTuneJob and the Jobs around it, behind HTTP; `fail` makes calls fail."""

    def __init__(self) -> None:
        self.server = ApiServer(self.answer)
        self.cache = Cache()
        self.now = 0.0
        self.jobs: dict[str, Body] = {}
        self.pods: list[Body] = []
        self.events: list[list[Event]] = []
        """Events of the children, page by page."""
        self.fail: dict[str, int] = {}
        """HTTP status by method and last part of the path: {"POST jobs": 403}."""
        self.words: Body = {}
        """The body of these answers, if not the call."""
        self.invalid: set[str] = set()
        """Fields of the status that are refused with 422."""
        self.before_write: Callable[[], None] = lambda: None
        self.put(make_job())

    def put(self, job: FineTuneJob) -> None:
        """Set the FineTuneJob; no watch has reported it."""
        self.body: Body | None = msgspec.to_builtins(job)
        self.cache.drop(KEY)

    def edit(self, **spec: Any) -> None:
        """Change fields of the spec; no watch has reported it."""
        assert self.body
        self.body["spec"] |= spec
        self._count_up()

    def watch(self) -> None:
        """Let the watch report the FineTuneJob, or its deletion."""
        if self.body:
            self.cache.observe_fine_tune_job(copy.deepcopy(self.body), deleted=False)
        else:
            self.cache.forget(KEY)

    @property
    def status(self) -> Body:
        assert self.body
        status: Body = self.body.get("status", {})
        return status

    def calls(self) -> list[str]:
        return [f"{method} {path.split('/')[-1]}" for method, path, _ in self.server.requests]

    def answer(self, request: web.Request, body: Body) -> Answer:
        """Answer one request."""
        parts = request.path.strip("/").split("/")
        call = f"{request.method} {parts[-1]}"
        if status := self.fail.get(call):
            return Answer(self.words or {"message": f"{call} is refused"}, status=status)
        if request.method == "DELETE":
            return Answer({})
        if "finetunejobs" in parts:
            return self._fine_tune_job(request.method, body)
        if parts[-1] == "pods":
            return Answer({"metadata": {}, "items": self.pods})
        if parts[-1] == "events":
            return self._page_of_events(request) if request.method == "GET" else Answer(body)
        if request.method == "GET" and parts[-1] == "jobs":
            return Answer({"metadata": {}, "items": list(self.jobs.values())})
        if request.method == "POST":
            name = body["metadata"]["name"]
            if name in self.jobs:
                return Answer({"message": "already exists"}, status=409)
            metadata = {**body["metadata"], "uid": f"attempt-{name.removeprefix('photos-')}"}
            self.jobs[name] = {**body, "metadata": metadata}
            return Answer(self.jobs[name])
        found = self.jobs.get(parts[-1])
        return Answer(found) if found else Answer({"message": "not found"}, status=404)

    def _page_of_events(self, request: web.Request) -> Answer:
        number = int(request.query.get("continue", "0"))
        more = {"continue": str(number + 1)} if number + 1 < len(self.events) else {}
        events = [event for page in self.events[number : number + 1] for event in page]
        return Answer({"metadata": more, "items": msgspec.to_builtins(events)})

    def _fine_tune_job(self, method: str, body: Body) -> Answer:
        if self.body is None:
            return Answer({"message": "not found"}, status=404)
        if method == "PATCH":
            if self.invalid & body["status"].keys():
                return Answer({"message": f"invalid: {self.invalid}"}, status=422)
            self.before_write()
            if body["metadata"]["resourceVersion"] != self.body["metadata"]["resourceVersion"]:
                return Answer({"message": "changed"}, status=409)
            status = copy.deepcopy(self.status)
            self.body["status"] = _merged(status, body["status"])
            self._count_up()
        return Answer(self.body)

    def _count_up(self) -> None:
        assert self.body
        metadata = self.body["metadata"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)


def _merged(target: Body, patch: Body) -> Body:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _merged(target[key], value)
        else:
            target[key] = value
    return target


def failure(cluster: ScriptedCluster) -> str:
    reason: str = cluster.status["failure"]["reason"]
    return reason
