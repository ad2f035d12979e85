import json
import re
from typing import Any

from finetune_operator.api import constants as c
from finetune_operator.api.contract import parse_termination

from bench.population import fine_tune_job
from bench.scale import kwok, work

LABELS = {c.LABEL_JOB_UID: "uid-1", c.LABEL_ATTEMPT: "1"}


def render(template: str) -> str:
    """Render the few expressions that the template has, as Go does."""
    text = template.replace("{{ $.metadata.uid }}", "pod-1")
    label = r"\{\{ index \$\.metadata\.labels `([^`]+)` \}\}"
    return re.sub(label, lambda found: LABELS[found[1]], text)


def status(stage: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(stage["spec"]["next"]["statusTemplate"])
    return loaded


def test_the_operator_takes_the_message_as_that_of_the_pod_and_its_attempt() -> None:
    report = parse_termination(render(kwok.message()))
    assert report
    assert (report.job.uid, report.job.attempt, report.job.pod_uid) == ("uid-1", 1, "pod-1")
    assert report.result


def test_a_pod_that_succeeds_has_the_message_of_the_trainers_container() -> None:
    (container,) = status(kwok.pod_succeeds())["containerStatuses"]
    (own,) = work.same_job(1)["spec"]["template"]["spec"]["containers"]
    assert container["name"] == own["name"]
    assert kwok.message() in container["state"]["terminated"]["message"]


def test_no_action_of_a_template_has_a_quote_that_json_would_escape() -> None:
    for stage in (kwok.pod_runs(), kwok.pod_holds(), kwok.pod_succeeds()):
        actions = re.findall(r"\{\{.*?\}\}", stage["spec"]["next"]["statusTemplate"])
        assert actions
        assert not [action for action in actions if '"' in action or "\\" in action]


def test_the_same_job_has_no_owner_and_the_labels_that_the_message_is_made_of() -> None:
    metadata = work.same_job(1)["metadata"]
    assert "ownerReferences" not in metadata
    assert LABELS.keys() <= metadata["labels"].keys()


def selected(stage: dict[str, Any]) -> dict[str, str]:
    conditions = stage["spec"]["selector"]["matchExpressions"]
    return {each["key"]: each["operator"] for each in conditions}


def test_a_pod_that_holds_has_an_address_and_stages_of_its_own() -> None:
    label = f'.metadata.labels["{work.HOLDS}"]'
    assert (
        selected(kwok.pod_runs())[label] == selected(kwok.pod_succeeds())[label] == "DoesNotExist"
    )
    assert selected(kwok.pod_holds())[label] == "Exists"
    assert "podIP" in status(kwok.pod_holds())
    assert "podIP" not in status(kwok.pod_runs())
    body = work.holding(fine_tune_job(1))
    assert work.HOLDS in body["spec"]["trainer"]["podLabels"]


def test_the_same_job_of_another_number_has_names_and_a_uid_of_its_own() -> None:
    first = work.same_job(0)
    other = work.renumbered(first, 17)
    expected = work.same_job(17)
    assert other["metadata"]["name"] == expected["metadata"]["name"]
    uids = {each["metadata"]["labels"][c.LABEL_JOB_UID] for each in (first, other)}
    assert len(uids) == 2
    assert "photos/00017" in json.dumps(other["spec"])
    assert "00000" not in json.dumps(other)
