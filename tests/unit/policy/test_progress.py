"""Which reports of a trainer are worth a write: a running job must not write at every poll."""

import pytest
from finetune_operator.api.contract import Progress
from finetune_operator.api.types import CheckpointStatus, DatasetStatus, ModelStatus, TrainerStatus
from finetune_operator.policy.progress import has_news, is_worth_a_write

from tests.support.builders import make_figures, make_progress

START = make_figures()


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(make_figures(at=25, speed="212.4"), id="images per second"),
        pytest.param(make_figures(at=25, remaining=575), id="time left"),
        pytest.param(make_figures(at=25, metrics={"data-stall": "0.1"}), id="data stall"),
        pytest.param(make_figures(at=25, metrics={"learning-rate": "0.1"}), id="learning rate"),
        pytest.param(make_figures(at=25, metrics={"gpu-memory": "7.1"}), id="of another image"),
        pytest.param(make_figures(at=-25, speed="212.4"), id="pod's clock was set back"),
        pytest.param(make_figures(at=3600), id="time alone, however late"),
        pytest.param(make_figures(at=None, speed="212.4"), id="no time"),
        pytest.param(make_figures(at="soon", speed="212.4"), id="not a time"),
        pytest.param(make_figures(at="2026-01-01T13:00:00", speed="9"), id="time without a zone"),
        pytest.param(None, id="no figures"),
    ],
)
def test_figure_that_changes_with_each_batch_is_not_worth_a_write(
    new: TrainerStatus | None,
) -> None:
    assert not is_worth_a_write(new, START)


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(make_figures(at=30, speed="212.4"), id="images per second after 30 s"),
        pytest.param(make_figures(at=30, remaining=570), id="time left after 30 s"),
        pytest.param(make_figures(at=-30, speed="212.4"), id="pod's clock was set far back"),
        pytest.param(make_figures(at=1, percent=51), id="percentage"),
        pytest.param(make_figures(at=1, percent=3), id="percentage of a later attempt"),
        pytest.param(make_figures(at=1, metrics={"accuracy": "0.81"}), id="accuracy"),
        pytest.param(make_figures(at=1, metrics={"train-accuracy": "0.81"}), id="train accuracy"),
        pytest.param(make_figures(at=1, metrics={"loss": "0.4"}), id="loss"),
        pytest.param(make_figures(at=1, metrics={"epoch": "3"}), id="epoch"),
    ],
)
def test_figure_that_was_measured_or_is_old_is_worth_a_write(new: TrainerStatus) -> None:
    assert is_worth_a_write(new, START)
    assert is_worth_a_write(new, None)


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        pytest.param(make_progress(), False, id="nothing"),
        pytest.param(make_progress(step=9, log_tail=("x",)), False, id="step and log"),
        pytest.param(make_progress("evaluate"), True, id="stage"),
        pytest.param(make_progress(epoch=1), True, id="checkpoint"),
        pytest.param(make_progress(dataset=DatasetStatus(classes=3)), True, id="data set"),
        pytest.param(make_progress(model=ModelStatus(name="x")), True, id="model"),
        pytest.param(make_progress(percent=51), True, id="percentage"),
    ],
)
def test_report_with_a_new_stage_or_object_is_news(new: Progress, expected: bool) -> None:
    assert has_news(new, make_progress()) is expected
    assert has_news(new, None)


def test_checkpoint_that_advanced_within_its_epoch_is_news() -> None:
    steps = [CheckpointStatus(epoch=1, step=step, time="now") for step in (10, 20)]
    old, new = (make_progress(checkpoint=each) for each in steps)
    assert has_news(new, old)
