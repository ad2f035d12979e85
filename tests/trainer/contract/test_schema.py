"""The contract as another image or the operator sees it: the JSON schema, HTTP, and bad jobs."""

import json
import signal
import subprocess
import urllib.error
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from finetune_trainer.contract import (
    Error,
    ExitCode,
    JobRef,
    Metric,
    OutputStatus,
    Result,
    Termination,
)
from finetune_trainer.contract.schema import contract_schema
from finetune_trainer.run.cgroup import memory_limit, working_set
from finetune_trainer.supervisor.termination import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tests.trainer.support.pods import make_job, start_pod, wait_until

SCHEMA_FILE = Path(__file__).parents[3] / "docs" / "trainer-contract.schema.json"
IDS = {key: make_job()[key] for key in ("uid", "attempt", "podUid")}


def check(kind: str, document: object) -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    validator = jsonschema.Draft202012Validator(
        {"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]}
    )
    validator.validate(document)


def test_the_schema_file_is_what_the_types_say() -> None:
    assert SCHEMA_FILE.read_text() == contract_schema(), "run: make render"


def test_the_schema_accepts_a_whole_job() -> None:
    check(
        "Job",
        make_job(
            dataset={
                "source": {"uri": "https://host/a.zip", "sha256": "a" * 64},
                "split": {"trainPerClass": 60},
            },
            training={"recipe": "tutorial", "optimizer": {"name": "sgd", "learningRate": "0.01"}},
            output={"uri": "pvc://models/flowers"},
        ),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"uid": None},
        {"model": {"nom": "x"}},
        {"training": {"epochs": 0}},
        {"training": {"minAccuracy": 0.77}},
        {"dataset": {"source": {"uri": "pvc://photos", "sha": "a"}}},
    ],
)
def test_the_schema_refuses_what_the_trainer_refuses(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    job = make_job(**change)
    with pytest.raises(jsonschema.ValidationError):
        check("Job", job)
    assert start_pod(tmp_path, job=job).wait() == ExitCode.InvalidSpec


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("", "FINETUNE_JOB is not set"),
        ("{", "FINETUNE_JOB is not JSON"),
        (make_job(training={"epochs": 0}), "spec.training.epochs: Expected `int` >= 1"),
        (make_job(training={"epoch": 3}), "spec.training: Object contains unknown field `epoch`"),
        (make_job(dataset={}), "spec.dataset: Object missing required field `source`"),
        (make_job(training={"recipe": "best"}), "spec.training.recipe: Invalid enum value 'best'"),
    ],
)
def test_the_error_of_a_job_that_does_not_parse_names_the_field(
    tmp_path: Path, job: dict[str, Any] | str, words: str
) -> None:
    pod = start_pod(tmp_path, job=job)
    assert pod.wait() == ExitCode.InvalidSpec
    check("Termination", json.loads(pod.message))
    error = pod.termination.error
    assert error is not None
    assert error.reason == "InvalidSpec"
    assert words in error.message
    if isinstance(job, dict):
        assert json.loads(pod.message)["job"] == IDS


def test_progress_is_served_from_the_first_moment(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fit=wait")
    progress = json.loads(pod.get("/progress"))
    check("Progress", progress)
    assert progress["job"] == IDS
    assert progress["stage"] in ("fetch", "fit")
    assert pod.get("/healthz") == b"ok\n"
    pod.process.send_signal(signal.SIGTERM)
    pod.wait()


def test_progress_shows_what_the_stage_reported(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=report_all", "fit=succeed")
    pod.wait_for("waiting")
    wait_until(lambda: b"accuracy" in pod.get("/progress"))
    body = pod.get("/progress")
    progress = json.loads(body)
    check("Progress", progress)
    assert len(body) <= 64 * 1024
    assert progress["job"] == IDS
    assert progress["stage"] == "fetch"
    assert progress["trainerStatus"]["progressPercentage"] == 25
    assert progress["trainerStatus"]["metrics"][0] == {"name": "accuracy", "value": "0.5"}
    assert progress["trainerStatus"]["lastUpdatedTime"].endswith("Z")
    assert progress["dataset"]["classes"] == 3
    assert progress["model"]["head"] == "fc"
    assert progress["checkpoint"]["epoch"] == 1
    assert progress["logTail"][-1] == "waiting"
    pod.process.send_signal(signal.SIGTERM)
    pod.wait()


def test_metrics_have_the_reported_figures_by_names_of_their_own(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=report_all", "fit=succeed")
    pod.wait_for("waiting")
    wait_until(lambda: b"_accuracy" in pod.get("/metrics"))
    page = pod.get("/metrics")
    samples = {
        (sample.name.removeprefix("finetune_trainer_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }
    assert (samples.pop(("memory_bytes",), None) is None) == (working_set() is None)
    assert samples.pop(("memory_limit_bytes",), None) == memory_limit()
    assert samples.pop(("estimated_remaining_seconds",), 0) >= 0
    assert samples == {
        ("progress_ratio",): 0.25,
        ("stage", "fetch"): 1,
        ("stage", "fit"): 0,
        ("accuracy",): 0.5,
        ("epoch",): 1,
        ("learning_rate",): 1.25e-06,
        ("steps_total",): 2,
        ("images_total",): 16,
        ("step_seconds_total",): 1.5,
        ("data_wait_seconds_total",): 0.25,
        ("checkpoints_total",): 1,
        ("checkpoint_seconds_total",): 0,
        ("checkpoint_timestamp_seconds",): 1767225600,
    }
    assert b"work" not in pod.get("/progress")
    check_with_promtool(page)
    with pytest.raises(urllib.error.HTTPError):
        pod.get("/other")
    pod.process.send_signal(signal.SIGTERM)
    pod.wait()


def test_the_termination_message_keeps_to_the_schema(tmp_path: Path) -> None:
    for name, stage in (("good", "succeed"), ("bad", "raise_bug"), ("crash", "crash")):
        (tmp_path / name).mkdir()
        pod = start_pod(tmp_path / name, f"fit={stage}")
        pod.wait()
        check("Termination", json.loads(pod.message))


def check_with_promtool(page: bytes) -> None:
    lint = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, check=False
    )
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, b"", b"")


texts = st.text(max_size=3000)


@settings(deadline=None)
@given(
    message=texts,
    hint=texts,
    log_tail=st.lists(texts, max_size=20).map(tuple),
    metrics=st.integers(0, 64),
    unit=st.sampled_from(["m", "\u00e9", "\x01", '"', "\U0001f600"]),
)
def test_no_termination_message_is_longer_than_the_kubelet_keeps(
    message: str, hint: str, log_tail: tuple[str, ...], metrics: int, unit: str
) -> None:
    termination = Termination(
        job=JobRef(uid="u" * 36, attempt=100, pod_uid="p" * 36),
        error=Error(reason="InvalidData", message=message, hint=hint, log_tail=log_tail),
        result=Result(
            accuracy="0.7700",
            recipe="tutorial",
            metrics=tuple(Metric(name=f"{i}{unit * 60}", value=unit * 63) for i in range(metrics)),
            output=OutputStatus(uri="pvc://" + unit * 1018, digest="d" * 64),
        ),
    )
    encoded = encode(termination)
    assert len(encoded) <= 4096
    decoded = msgspec.json.decode(encoded, type=Termination)
    assert decoded.result is not None
    assert decoded.result.accuracy == "0.7700"
    assert decoded.error is not None
    assert decoded.error.reason == "InvalidData"
