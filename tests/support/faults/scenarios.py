"""The scenarios: a FineTuneJob, what its trainers do, what its user does, and how it must end."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.faults import queue, sidecar, users
from tests.support.faults.kubelet import Trains
from tests.support.faults.watched_cluster import Namespace, is_ended
from tests.support.world import condition, fine_tune_job

FOR_EVER = Trains(code=None)
SUCCEEDS = (Trains(),)
MESH = {"gpusPerNode": 0, "podLabels": {sidecar.LABEL: "true"}}
SOURCE = {"source": {"uri": "https://example.test/photos.zip"}}


@dataclass(frozen=True, kw_only=True)
class End:
    """Where a job has come to, in what its user can see."""

    phase: str = "Complete"  # "" after its deletion
    reason: str = "Complete"  # of the condition Complete or Failed
    failure: str = ""
    attempts: int = 1
    failures: int = 0
    disruptions: int = 0
    preparations: int = 0
    history: tuple[str, ...] = ("Complete",)
    accuracy: str = "0.8704"
    jobs: tuple[str, ...] = ("photos-1",)  # children that are still there, and
    pods: int = 0  # how many of their pods may still run


LATE = End(phase="Failed", history=(), accuracy="", jobs=())
DEADLINES = {
    "activeDeadlineSeconds": "DeadlineExceeded",
    "startupDeadlineSeconds": "StartupDeadlineExceeded",
}
"""The reason of a job's end, by the field that has the deadline."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What happens, but for the operator's part."""

    name: str
    end: End
    attempts: tuple[Trains, ...] = SUCCEEDS
    preparations: tuple[Trains, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    user: Callable[[Namespace], Awaitable[None]] = users.does_nothing

    def ends(self, *, refused: bool) -> tuple[End, ...]:
        """Return what it may come to; with its Job `refused` for a while, it may be too late."""
        late: list[End] = []
        for name in DEADLINES.keys() & self.spec.keys() if refused else ():
            end = replace(LATE, reason=DEADLINES[name])
            late.append(replace(end, failure="CreateRefused", attempts=0))
            late.append(replace(end, failure=DEADLINES[name]))
        return (self.end, *late)


async def apply(namespace: Namespace, scenario: Scenario) -> None:
    """Create the FineTuneJob."""
    body = fine_tune_job(**{"dataset": SOURCE, **scenario.spec})
    body["metadata"]["labels"] = scenario.labels
    await namespace.request("POST", "finetunejobs", body=body)


def end_of(namespace: Namespace) -> End:
    """Return where the job is now."""
    status = namespace.last_status
    terminal = [condition(status, end) for end in ("Complete", "Failed")]
    jobs = namespace.objects["jobs"].values()
    return End(
        phase=status.get("phase", "") if namespace.job else "",
        reason=next((c["reason"] for c in terminal if c.get("status") == "True"), ""),
        failure=status.get("failure", {}).get("reason", ""),
        attempts=status.get("attempts", 0),
        failures=status.get("failures", 0),
        disruptions=status.get("disruptions", 0),
        preparations=status.get("preparation", {}).get("attempts", 0),
        history=tuple(record["reason"] for record in status.get("history", [])),
        accuracy=status.get("accuracy", ""),
        jobs=tuple(sorted(job["metadata"]["name"] for job in jobs)),
        pods=sum(not is_ended(pod) for pod in namespace.pods),
    )


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="success", end=End()),
        Scenario(
            name="user error",
            attempts=(Trains(code=65),),
            end=End(
                phase="Failed",
                reason="InvalidData",
                failure="InvalidData",
                failures=1,
                history=("InvalidData",),
                accuracy="",
            ),
        ),
        Scenario(
            name="retries",
            attempts=(Trains(code=70), Trains(code=75), Trains()),
            end=End(
                attempts=3,
                failures=2,
                history=("InternalError", "TemporaryFailure", "Complete"),
                jobs=("photos-2", "photos-3"),
            ),
        ),
        Scenario(
            name="backoff limit",
            attempts=(Trains(code=70), Trains(code=139)),
            spec={"backoffLimit": 1},
            end=End(
                phase="Failed",
                reason="BackoffLimitExceeded",
                failure="Crashed",
                attempts=2,
                failures=2,
                history=("InternalError", "Crashed"),
                accuracy="",
                jobs=("photos-1", "photos-2"),
            ),
        ),
        Scenario(
            name="suspend and resume",
            attempts=(FOR_EVER, Trains()),
            user=users.suspends_and_resumes,
            end=End(attempts=2, history=("Suspended", "Complete"), jobs=("photos-2",)),
        ),
        Scenario(
            name="suspended before it runs",
            attempts=(FOR_EVER, Trains()),
            user=users.suspends_at_once,
            end=End(attempts=2, history=("Suspended", "Complete"), jobs=("photos-2",)),
        ),
        Scenario(
            name="time to live",
            spec={"ttlSecondsAfterFinished": 1},
            end=End(phase="", jobs=()),
        ),
        Scenario(
            name="active deadline",
            attempts=(FOR_EVER,),
            spec={"activeDeadlineSeconds": 2},
            end=End(
                phase="Failed",
                reason="DeadlineExceeded",
                failure="DeadlineExceeded",
                history=(),
                accuracy="",
                jobs=(),
            ),
        ),
        Scenario(
            name="startup deadline",
            spec={"startupDeadlineSeconds": 6, "dataset": {"source": {"uri": "pvc://fotos"}}},
            end=End(
                phase="Failed",
                reason="StartupDeadlineExceeded",
                failure="ClaimNotFound",
                history=(),
                accuracy="",
                jobs=(),
            ),
        ),
        Scenario(
            name="deleted while it runs",
            attempts=(FOR_EVER,),
            user=users.deletes,
            end=End(phase="", reason="", history=(), accuracy="", jobs=()),
        ),
        Scenario(
            name="deleted pod",
            attempts=(FOR_EVER, Trains()),
            user=users.deletes_the_pod,
            end=End(
                attempts=2,
                failures=1,
                history=("Interrupted", "Complete"),
                jobs=("photos-1", "photos-2"),
            ),
        ),
        Scenario(
            name="deleted attempt",
            attempts=(FOR_EVER, Trains()),
            user=users.deletes_the_attempt,
            end=End(
                attempts=2, disruptions=1, history=("JobDeleted", "Complete"), jobs=("photos-2",)
            ),
        ),
        Scenario(
            name="orphaned pod",
            attempts=(Trains(code=143, seconds=1.0, orphaned=True), Trains()),
            user=users.orphans_the_pod,
            end=End(
                attempts=2, disruptions=1, history=("JobDeleted", "Complete"), jobs=("photos-2",)
            ),
        ),
        Scenario(
            name="eviction",
            attempts=(Trains(code=137, evicted=True), Trains()),
            end=End(
                attempts=2,
                disruptions=1,
                history=("Disrupted", "Complete"),
                jobs=("photos-1", "photos-2"),
            ),
        ),
        Scenario(
            name="rejected pod",
            attempts=(Trains(rejected=True), Trains()),
            end=End(
                attempts=2,
                disruptions=1,
                history=("PodRejected", "Complete"),
                jobs=("photos-1", "photos-2"),
            ),
        ),
        Scenario(
            name="prepare and train",
            preparations=(Trains(code=75), Trains()),
            spec={
                "dataset": {**SOURCE, "prepare": "Separate"},
                "workspace": {"claimName": "models"},
            },
            end=End(
                preparations=2,
                history=("TemporaryFailure", "Prepared", "Complete"),
                jobs=("photos-1", "photos-2-prepare"),
            ),
        ),
        Scenario(
            name="gang",
            attempts=(Trains(code=None, peers=70), Trains()),
            spec={
                "trainer": {"numNodes": 2, "gpusPerNode": 0},
                "workspace": {"claimName": "models"},
            },
            end=End(
                attempts=2,
                failures=1,
                history=("InternalError", "Complete"),
                jobs=("photos-1", "photos-2"),
            ),
        ),
        Scenario(
            name="sidecar",
            attempts=(Trains(kept=True),),
            spec={"trainer": MESH, "activeDeadlineSeconds": 5},
            end=End(jobs=()),
        ),
        Scenario(
            name="sidecar beside a failure",
            attempts=(Trains(code=75, kept=True), Trains()),
            spec={"trainer": MESH},
            end=End(
                attempts=2,
                failures=1,
                history=("TemporaryFailure", "Complete"),
                jobs=("photos-2",),
            ),
        ),
        Scenario(
            name="sidecar beside a preparation",
            preparations=(Trains(kept=True),),
            spec={
                "dataset": {**SOURCE, "prepare": "Separate"},
                "workspace": {"claimName": "models"},
                "trainer": MESH,
            },
            end=End(preparations=1, history=("Prepared", "Complete")),
        ),
        Scenario(
            name="sidecar in a gang",
            attempts=(Trains(kept=True),),
            spec={
                "trainer": {**MESH, "numNodes": 2},
                "workspace": {"claimName": "models"},
            },
            end=End(jobs=()),
        ),
        Scenario(
            name="queue",
            labels={queue.LABEL: "team"},
            attempts=(Trains(code=None, then=Trains()),),
            user=queue.admits_takes_back_and_admits,
            end=End(),
        ),
        Scenario(
            name="suspended while the queue holds it",
            labels={queue.LABEL: "team"},
            attempts=(Trains(), Trains()),
            user=queue.is_suspended_by_its_user_while_it_waits,
            end=End(attempts=2, history=("Suspended", "Complete"), jobs=("photos-2",)),
        ),
        Scenario(
            name="lost node",
            attempts=(Trains(lost=True), Trains()),
            spec={"trainer": {"gpusPerNode": 0, "terminationGracePeriodSeconds": 1}},
            user=users.deletes_the_pod_of_a_lost_node,
            end=End(
                attempts=2, disruptions=1, history=("Disrupted", "Complete"), jobs=("photos-2",)
            ),
        ),
    )
}
