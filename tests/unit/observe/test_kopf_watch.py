"""The watch of FineTuneJobs starts wherever the operator is allowed to run."""

import asyncio
import os
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from finetune_operator.api import constants as c
from finetune_operator.kube import urls
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.observe.cache import Cache
from finetune_operator.observe.kopf_watch import watch_jobs
from finetune_operator.settings import Settings

from tests.cluster.credentials import kubeconfig
from tests.support.api_server import Answer, ApiServer, Body, serving

UID = 1_000_680_000


def answer(request: web.Request, _: Body) -> Answer:
    kind = {"name": c.PLURAL, "kind": c.KIND, "namespaced": True, "verbs": ["list", "watch"]}
    version = {"groupVersion": c.API_VERSION, "version": c.VERSION}
    group = {"name": c.GROUP, "versions": [version], "preferredVersion": version}
    answers: dict[str, Body] = {
        urls.GROUPS: {"groups": [group]},
        urls.RESOURCES: {"resources": [kind]},
        f"{urls.RESOURCES}/{c.PLURAL}": {"metadata": {"resourceVersion": "1"}, "items": []},
    }
    return Answer(answers.get(request.path, {"versions": [], "resources": []}))


async def test_watch_starts_as_a_user_without_a_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: UID)
    ready = asyncio.Event()
    server = ApiServer(answer)
    async with serving(server) as client:
        config = tmp_path / "kubeconfig"
        config.write_text(yaml.safe_dump(kubeconfig(client._api.configuration.host, "token")))
        monkeypatch.setenv("KUBECONFIG", str(config))
        watch = watch_jobs(
            client, Cache(), WorkQueue(), Settings(), observe=lambda *_, **__: None, ready=ready
        )
        task = asyncio.create_task(watch)
        started = asyncio.create_task(ready.wait())
        await asyncio.wait((task, started), timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert ready.is_set(), task
        for each in (task, started):
            each.cancel()
        await asyncio.gather(task, started, return_exceptions=True)
