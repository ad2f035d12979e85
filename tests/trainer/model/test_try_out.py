"""A network is tried out in a process of its own."""

import signal
import sys
from pathlib import Path

import pytest
from finetune_trainer.contract import ExitCode, Model, TrainerError
from finetune_trainer.model.origin import Origin
from finetune_trainer.model.try_out import try_out


def test_a_network_of_the_image_costs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/does/not/exist")
    try_out(Model(name="efficientnet-lite0"), Origin("efficientnet-lite0", None))


def test_a_process_that_is_killed_is_no_network_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "python"
    killed.write_text(f"#!/bin/sh\nkill -{signal.SIGKILL:d} $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))
    with pytest.raises(TrainerError, match="ended by SIGKILL") as error:
        try_out(Model(), Origin("net", tmp_path / "weights.pth"))
    assert error.value.code == ExitCode.InternalError
    assert "trainer.resources.limits.memory" in error.value.hint
