"""Argo CD's scripts, run by Lua 5.1 over statuses that the operator writes."""

import subprocess
from typing import Any, get_args

import msgspec
import pytest
import yaml
from finetune_operator.api import constants as c
from finetune_operator.api.types import FineTuneJob, Phase, Status
from finetune_operator.decide import decide
from finetune_operator.policy.plan import Attempt, Observed
from finetune_operator.settings import Settings

from deploy.render import argocd
from tests.support.builders import (
    error_message,
    later,
    make_attempt,
    make_ended_attempt,
    make_job,
    make_pod,
    make_progress,
    make_status,
    make_waiting_pod,
    result_message,
)

DATA = yaml.safe_load(argocd.OUTPUT.read_text())["data"]
HEALTH = DATA[f"resource.customizations.health.{argocd.KEY}"]
ACTIONS = yaml.safe_load(DATA[f"resource.customizations.actions.{argocd.KEY}"])
DEFINITIONS = {each["name"]: each["action.lua"] for each in ACTIONS["definitions"]}
LIVE = make_status(attempt=1)
RUNNING = make_attempt(1, make_pod())
# Argo CD's interpreter has no access to files, programs or modules.
SANDBOX = "os, io, require, dofile, loadfile, package = nil\n"


def lua(script: str, obj: object, show: str) -> list[str]:
    """Run the script with `obj`; return the lines that `show` prints of its result."""
    program = f"local print = print\n{SANDBOX}obj = {literal(obj)}\n"
    program += f"local found = (function()\n{script}\nend)()\n{show}"
    run = subprocess.run(["lua5.1", "-"], input=program, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def literal(value: object) -> str:
    """Return a value as Lua writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{literal(k)}] = {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "{" + ", ".join(map(literal, value)) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else '"' + str(value).replace('"', '\\"') + '"'


def stored(job: FineTuneJob, status: Status | None) -> dict[str, Any]:
    """Return the FineTuneJob as the API server has it."""
    metadata = {"name": job.metadata.name, "generation": job.metadata.generation}
    body: dict[str, Any] = {"metadata": metadata, "spec": {"suspend": job.spec.suspend}}
    return body | ({"status": msgspec.to_builtins(status)} if status else {})


def decided(job: FineTuneJob, *attempts: Attempt, **seen: Any) -> dict[str, Any]:
    """Return the FineTuneJob with the status that the operator gives it."""
    observed = Observed(job=job, attempts=attempts, **seen)
    return stored(job, decide(observed, later(0), Settings(trainer_gpu_image="trainer:1")).status)


def for_a_queue(job: FineTuneJob) -> FineTuneJob:
    metadata = msgspec.structs.replace(job.metadata, labels={c.LABEL_QUEUE: "team"})
    return msgspec.structs.replace(job, metadata=metadata)


def health(obj: object) -> tuple[str, str]:
    status, message = lua(HEALTH, obj, "print(found.status)\nprint(found.message)")
    return status, message


PULLING = make_waiting_pod("ImagePullBackOff", "not found")
CASES = {
    "new": (stored(make_job(), None), "Progressing", "Waiting for the operator"),
    "begun": (decided(make_job()), "Progressing", "Starting"),
    "begun in a queue": (decided(for_a_queue(make_job())), "Progressing", "Pending"),
    "queued": (
        decided(make_job(LIVE), make_attempt(1, suspended=True)),
        "Progressing",
        "Queued: The Job is suspended by a queue.",
    ),
    "preparing": (
        decided(make_job(LIVE), RUNNING, progress=make_progress("prepare")),
        "Progressing",
        "Preparing: 50 %",
    ),
    "starting": (decided(make_job(LIVE), RUNNING), "Progressing", "Starting"),
    "no image": (
        decided(make_job(LIVE), make_attempt(1, PULLING)),
        "Progressing",
        "Starting: ImagePullError: ",
    ),
    "training": (
        decided(make_job(LIVE), RUNNING, progress=make_progress()),
        "Progressing",
        "Training: 50 %",
    ),
    "saving": (decided(make_job(LIVE, suspend=True), RUNNING), "Progressing", "Suspending: "),
    "suspended": (decided(make_job(suspend=True)), "Suspended", "spec.suspend is true."),
    "complete": (
        decided(make_job(LIVE), make_ended_attempt(1, 0, result_message("0.9"))),
        "Healthy",
        "Accuracy 0.9 on the validation images.",
    ),
    "failed": (
        decided(make_job(LIVE), make_ended_attempt(1, 65, error_message("InvalidData"))),
        "Degraded",
        "InvalidData: ",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_health_of_each_state_is_that_of_a_job(case: str) -> None:
    obj, status, message = CASES[case]
    found, text = health(obj)
    assert found == status
    assert text.startswith(message)


def test_each_phase_is_among_the_states() -> None:
    phases = {obj["status"]["phase"] for obj, _, _ in CASES.values() if "status" in obj}
    assert phases == set(get_args(Phase))


@pytest.mark.parametrize("before", ["suspended", "training"])
def test_change_that_the_operator_has_not_seen_is_awaited(before: str) -> None:
    obj = CASES[before][0]
    changed = obj | {"metadata": obj["metadata"] | {"generation": 2}}
    assert health(changed) == ("Progressing", "Waiting for the operator")


def test_finished_job_stays_what_it_is_when_its_spec_changes() -> None:
    obj = CASES["complete"][0]
    changed = obj | {"metadata": obj["metadata"] | {"generation": 2}}
    assert health(changed)[0] == "Healthy"


@pytest.mark.parametrize("case", CASES)
def test_unfinished_job_can_be_suspended_or_resumed(case: str) -> None:
    obj = CASES[case][0]
    finished = case in ("complete", "failed")
    buttons = [] if finished else ["resume" if obj["spec"]["suspend"] else "suspend"]
    show = "for name in pairs(found) do print(name) end"
    assert lua(ACTIONS["discovery.lua"], obj, show) == buttons


@pytest.mark.parametrize(("action", "suspended"), [("suspend", "true"), ("resume", "false")])
def test_action_changes_suspend_and_nothing_else(action: str, suspended: str) -> None:
    obj = CASES["training"][0]
    show = "print(found.spec.suspend)\nprint(found.status.phase)\nprint(found.metadata.name)"
    assert lua(DEFINITIONS[action], obj, show) == [suspended, "Training", "photos"]


def test_patch_is_rendered_from_the_scripts() -> None:
    assert argocd.OUTPUT.read_text() == argocd.render(), "run `make render`"
