"""The run status: what /progress says, bounded whatever a stage sends."""

from finetune_trainer.contract import JobRef, Metric
from finetune_trainer.pipeline import STAGES
from finetune_trainer.run.reporter import Work
from finetune_trainer.supervisor.run_status import PROGRESS_LIMIT, Report, RunStatus
from hypothesis import given, settings
from hypothesis import strategies as st

JOB = JobRef(uid="u", attempt=1, pod_uid="p")


def test_the_step_differs_whenever_work_was_done() -> None:
    run_status = RunStatus(JOB, stages=STAGES)
    seen = []
    for stage in STAGES[:2]:
        run_status.start(stage)
        for fraction in (0.1, 0.2):
            run_status.apply(Report(step=1, fraction=fraction))
            seen.append(run_status.snapshot().step)
    assert len(set(seen)) == 4
    run_status.apply(Report(note="still the same"))
    run_status.apply(Report(step=1, fraction=0.2))
    assert run_status.snapshot().step == seen[-1]


def test_a_metric_is_replaced_by_its_name() -> None:
    run_status = RunStatus(JOB, stages=STAGES)
    for value in ("0.1", "0.2"):
        run_status.apply(Report(metrics=(Metric(name="accuracy", value=value),)))
    assert run_status.snapshot().trainer_status.metrics == (Metric(name="accuracy", value="0.2"),)


def test_the_work_of_later_stages_is_added_and_no_number_falls() -> None:
    run_status = RunStatus(JOB, stages=STAGES)
    for work in (Work(steps=3, step_seconds=1.5), Work(steps=5, step_seconds=2.0)):
        run_status.apply(Report(work=work))
    assert run_status.work == Work(steps=5, step_seconds=2.0)
    run_status.start(STAGES[1])
    assert run_status.work.steps == 5
    run_status.apply(Report(work=Work(steps=7, step_seconds=1.0)))
    assert run_status.work == Work(steps=12, step_seconds=3.0)
    run_status.apply(Report(note="without any"))
    run_status.apply(Report(work=Work(steps=2, step_seconds=0.5)))  # it has begun again
    assert run_status.work == Work(steps=14, step_seconds=3.5)
    run_status.apply(Report(work=Work(steps=-9)))
    assert run_status.work.steps == 14


@settings(deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=30))
def test_progress_is_bounded_whatever_is_printed(chunks: list[bytes]) -> None:
    run_status = RunStatus(JOB, stages=STAGES)
    for chunk in chunks:
        run_status.log(chunk)
    assert len(run_status.encoded()) <= PROGRESS_LIMIT
    assert all(line.isprintable() for line in run_status.log_tail)


def test_the_last_lines_are_kept_whole() -> None:
    run_status = RunStatus(JOB, stages=STAGES)
    for number in range(100):
        run_status.log(f"line {number}\n".encode())
    run_status.log(b"10 %\r20 %\r30 %")
    assert len(run_status.log_tail) == 20
    assert run_status.log_tail[-4:] == ("line 99", "10 %", "20 %", "30 %")
