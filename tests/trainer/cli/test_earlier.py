"""Which earlier local run a new one goes on with."""

from pathlib import Path

from finetune_trainer.cli.earlier import LocalRun, take_over


def test_what_a_clean_up_is_removing_is_no_earlier_run(tmp_path: Path) -> None:
    this, jobs = LocalRun(name="team/flowers", digest="d"), tmp_path / "jobs"
    assert take_over(jobs / "one", this) == ""
    assert take_over(jobs / "two", this) != ""
    for uid in ("one", "two"):
        (jobs / uid).rename(jobs / f".{uid}.pruned")
    assert take_over(jobs / "three", this) == ""
