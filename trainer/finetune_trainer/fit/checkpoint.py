"""Checkpoints: directories that are whole or absent, their files' digests in a manifest.

Going on from one gives the same bits as never having stopped: it holds parameters, BatchNorm's
statistics, the optimizer's states and counters, and everything random is seeded by epoch and step.
(Within an epoch on several devices, BatchNorm's statistics are averaged earlier than they would
have been: the same to rounding, and training does not read them.)
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


class CheckpointManifest(Struct):
    """What a checkpoint is of, and its files' digests."""

    fingerprint: str
    """Of recipe, data and network: a checkpoint of others is no start for this fit."""
    status: CheckpointStatus
    rows: int
    """Of the next epoch's batches, done already."""
    files: dict[str, str]
    slowed: bool = False
    """The fit had diverged before, and went on from there at a lower rate."""
    score: Score = msgspec.field(default_factory=Score)
    """Of the rows."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Where to go on; without arguments, the start."""

    epoch: int = 0
    """Epochs done."""
    rows: int = 0
    """Done of the next epoch's batches, whose size may be another in the next attempt."""
    step: int = 0
    """Updates of each parameter done."""
    args: dict[str, Any] = dataclasses.field(default_factory=dict)
    aux: dict[str, Any] = dataclasses.field(default_factory=dict)
    states: dict[str, Any] = dataclasses.field(default_factory=dict)
    average: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Of the weights and statistics over the training so far, if one is kept."""
    slowed: bool = False
    """Whether the learning rate is lower than the recipe's, because the fit diverged."""
    score: Score = dataclasses.field(default_factory=Score)
    """What the rows gave while they trained."""
    status: CheckpointStatus | None = None
    """As it was reported when it was saved."""


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one fit."""

    directory: Path
    fingerprint: str
    check: Callable[[], None]
    """Raises if another pod owns the run; called before anything is renamed or removed."""

    def save(self, module: mx.mod.Module, at: Checkpoint) -> CheckpointStatus:
        """Save the module as it is now and drop all but the newest checkpoints."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        status = CheckpointStatus(epoch=at.epoch, step=at.step, time=now)
        path = self.directory / name_of(at.step)
        with files.whole_directory(path, check=self.check) as staged:
            args, aux = module.get_params()
            save_params(args, aux, staged / PARAMS)
            save_arrays(staged / STATES, _states_by_name(module))
            if at.average:
                save_arrays(staged / AVERAGE, at.average)
            manifest = CheckpointManifest(
                fingerprint=self.fingerprint,
                status=status,
                rows=at.rows,
                files={path.name: files.sha256_of(path) for path in sorted(staged.iterdir())},
                slowed=at.slowed,
                score=at.score,
            )
            files.write_json(staged / MANIFEST, manifest)
        for path in self._all()[KEPT:]:
            shutil.rmtree(path)
        return status

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole and of this fit."""
        self.check()
        files.clear_leftovers(self.directory)
        for path in self._all():
            try:
                return self._load(path)
            except OSError as error:
                log.warning("checkpoint %s is passed over: %s", path.name, error)
            except (ValueError, mx.MXNetError) as error:
                # Left there, it would pass for newer than what this fit is about to save.
                log.warning("checkpoint %s is dropped: %s", path.name, error)
                shutil.rmtree(path)
        return None

    def note(self, row: Row) -> None:
        """Add an epoch to history.csv beside the checkpoints."""
        self.check()
        append(self.directory.parent / HISTORY, row)

    def noted(self) -> tuple[Row, ...]:
        """Return the epochs of history.csv."""
        return read(self.directory.parent / HISTORY)

    def named(self, name: str) -> Checkpoint:
        """Return this very checkpoint."""
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

    def _all(self) -> list[Path]:
        """Return the checkpoints, the newest first."""
        return sorted(self.directory.glob("step-*"), reverse=True)


def name_of(step: int) -> str:
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
            updater.states_synced[key] = False  # MXNet copies it to the device that uses it


def _states_by_name(module: mx.mod.Module) -> dict[str, Any]:
    """Return the optimizer's states as `PARAMETER.SLOT`, whatever the number of devices.

    MXNet's own format is a pickle, which could name any code when it is read again.
    """
    updater, keys = _updater(module)
    named: dict[str, Any] = {}
    for key, state in updater.states.items():
        slots = state if isinstance(state, tuple | list) else (state,)
        named |= {f"{keys[key]}.{slot}": v for slot, v in enumerate(slots) if v is not None}
    return named


def _updater(module: mx.mod.Module) -> tuple[Any, dict[Any, str]]:
    """Return what applies the updates, and the parameters by its keys: the kvstore with several
    devices, which counts by name; else, and in a gang, the module itself, which counts by number,
    each device's copy of a parameter (all the same) by its own.
    """
    names = module._param_names
    if module._update_on_kvstore:
        return module._kvstore._updater, {name: name for name in names}
    copies = len(module._context)
    return module._updater, {key: names[key // copies] for key in range(copies * len(names))}
