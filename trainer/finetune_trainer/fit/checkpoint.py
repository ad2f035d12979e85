"""Checkpoints: directories that are whole or absent, their files' digests in a manifest.

A fit that resumes from a checkpoint has the same bits as one that never stopped: the checkpoint
holds parameters, BatchNorm's statistics, and the optimizer's states and counters, and all random
numbers are seeded by epoch and step. (A checkpoint within an epoch on several devices averages
BatchNorm's statistics early: they are the same to rounding, and training does not read them.)
"""

import dataclasses
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import mxnet as mx

from finetune_trainer.contract import CheckpointStatus, Struct
from finetune_trainer.evaluate.scoring import Score
from finetune_trainer.model.network import PARAMS, load_params, save_arrays, save_params
from finetune_trainer.run import files
from finetune_trainer.run.history import HISTORY, Row, append, read

log = logging.getLogger(__name__)

STATES = "optimizer.states"
AVERAGE = "average.params"
MANIFEST = "manifest.json"
KEPT = 2
"""Number of checkpoints that are kept, the newest ones."""


class CheckpointManifest(Struct):
    """manifest.json of a checkpoint: the fit that it belongs to, and its files' digests."""

    fingerprint: str
    """Fingerprint of recipe, data set and network: only a fit with the same may start here."""
    status: CheckpointStatus
    rows: int
    """Number of rows of the next epoch that are trained already."""
    files: dict[str, str]
    """sha256 of each file, by name."""
    slowed: bool = False
    """True if the fit has diverged before, and goes on at a lower learning rate."""
    score: Score = msgspec.field(default_factory=Score)
    """Training score of the `rows`."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state that a fit resumes from; without arguments, the state before the first epoch."""

    epoch: int = 0
    """Number of finished epochs."""
    rows: int = 0
    """Number of rows of the next epoch that are trained already. These are rows, not batches: the
    next attempt may have another batch size."""
    step: int = 0
    """Number of updates of each parameter."""
    args: dict[str, Any] = dataclasses.field(default_factory=dict)
    aux: dict[str, Any] = dataclasses.field(default_factory=dict)
    states: dict[str, Any] = dataclasses.field(default_factory=dict)
    average: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Mean of weights and BatchNorm's statistics by training.weightAveraging; empty without it."""
    slowed: bool = False
    """True if the learning rate is lower than the recipe's, because the fit has diverged."""
    score: Score = dataclasses.field(default_factory=Score)
    """Training score of the `rows`."""
    status: CheckpointStatus | None = None
    """Status as reported when the checkpoint was saved; None: the start, which is not saved."""


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one fit."""

    directory: Path
    fingerprint: str
    check: Callable[[], None]
    """Function that raises if another pod owns the run; called before a rename or removal."""

    def save(self, module: mx.mod.Module, checkpoint: Checkpoint) -> CheckpointStatus:
        """Save the module's state and remove all but the newest checkpoints."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        status = CheckpointStatus(epoch=checkpoint.epoch, step=checkpoint.step, time=now)
        path = self.directory / directory_name(checkpoint.step)
        with files.whole_directory(path, check=self.check) as staged:
            args, aux = module.get_params()
            save_params(args, aux, staged / PARAMS)
            save_arrays(staged / STATES, _states_by_name(module))
            if checkpoint.average:
                save_arrays(staged / AVERAGE, checkpoint.average)
            manifest = CheckpointManifest(
                fingerprint=self.fingerprint,
                status=status,
                rows=checkpoint.rows,
                files={path.name: files.sha256_of(path) for path in sorted(staged.iterdir())},
                slowed=checkpoint.slowed,
                score=checkpoint.score,
            )
            files.write_json(staged / MANIFEST, manifest)
        for path in self._newest_first()[KEPT:]:
            shutil.rmtree(path)
        return status

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole and belongs to this fit."""
        self.check()
        files.clear_leftovers(self.directory)
        for path in self._newest_first():
            try:
                return self._load(path)
            except OSError as error:
                log.warning("checkpoint %s is skipped: %s", path.name, error)
            except (ValueError, mx.MXNetError) as error:
                # If it stayed, it could count as newer than the checkpoints that this fit saves.
                log.warning("checkpoint %s is dropped: %s", path.name, error)
                shutil.rmtree(path)
        return None

    def add_epoch(self, row: Row) -> None:
        """Add an epoch to history.csv, beside the directory of the checkpoints."""
        self.check()
        append(self.directory.parent / HISTORY, row)

    def epochs(self) -> tuple[Row, ...]:
        """Return the epochs of history.csv."""
        return read(self.directory.parent / HISTORY)

    def load(self, name: str) -> Checkpoint:
        """Return the checkpoint of this name. Raises OSError or ValueError if it is damaged."""
        return self._load(self.directory / name)

    def _load(self, path: Path) -> Checkpoint:
        manifest = files.read_json(path / MANIFEST, CheckpointManifest)
        if manifest.fingerprint != self.fingerprint:
            raise ValueError("it is of another recipe, data set or network")
        for name, digest in manifest.files.items():
            if files.sha256_of(path / name) != digest:
                raise ValueError(f"{name} is damaged")
        args, aux = load_params(path / PARAMS)
        # MXNet reads a file without entries as an empty list.
        states = mx.nd.load(str(path / STATES)) or {}
        average = mx.nd.load(str(path / AVERAGE)) if AVERAGE in manifest.files else {}
        return Checkpoint(
            epoch=manifest.status.epoch,
            rows=manifest.rows,
            step=manifest.status.step,
            args=args,
            aux=aux,
            states=states,
            average=average,
            slowed=manifest.slowed,
            score=manifest.score,
            status=manifest.status,
        )

    def _newest_first(self) -> list[Path]:
        """Return the checkpoints, the newest first."""
        return sorted(self.directory.glob("step-*"), reverse=True)


def directory_name(step: int) -> str:
    """Return the name of a checkpoint's directory."""
    return f"step-{step:08}"


def restore_states(module: mx.mod.Module, states: dict[str, Any]) -> None:
    """Give a module's optimizer the states of a checkpoint."""
    updater, keys = _updater(module)
    slots: dict[str, list[Any]] = {}
    for name in sorted(states):
        slots.setdefault(name.rpartition(".")[0], []).append(states[name])
    for key, name in keys.items():
        if name in slots:
            values = [value.copy() for value in slots[name]]  # each device changes its own
            updater.states[key] = values[0] if len(values) == 1 else tuple(values)
            updater.states_synced[key] = False  # then MXNet copies it to the device that uses it


def _states_by_name(module: mx.mod.Module) -> dict[str, Any]:
    """Return the optimizer's states as `PARAMETER.SLOT`, whatever the number of devices.

    MXNet's own format is a pickle, which could run any code when it is read.
    """
    updater, keys = _updater(module)
    by_name: dict[str, Any] = {}
    for key, state in updater.states.items():
        slots = state if isinstance(state, tuple | list) else (state,)
        by_name |= {f"{keys[key]}.{slot}": v for slot, v in enumerate(slots) if v is not None}
    return by_name


def _updater(module: mx.mod.Module) -> tuple[Any, dict[Any, str]]:
    """Return the updater, and the names of the parameters by the updater's keys.

    With several devices it is the kvstore's, whose keys are names. Else, and in a gang, it is the
    module's, whose keys are numbers: one for each device's copy of a parameter.
    """
    names = module._param_names
    if module._update_on_kvstore:
        return module._kvstore._updater, {name: name for name in names}
    copies = len(module._context)
    return module._updater, {key: names[key // copies] for key in range(copies * len(names))}
