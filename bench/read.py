"""Speed of reading packed photos, and the time that training waits for them.

`python -m bench.read` packs 50,000 different photos (see bench.pack), reads some of them alone, and
trains efficientnet-lite0 on them for 50 steps as the recipe `tutorial` does on CPUs.
"""

import argparse
import dataclasses
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune_trainer.run.cgroup import available_cpus

from bench.pack import RESIZE, make_different_photos
from tests.trainer.support.datasets import Prepared, make_run, prepare_photos

STEPS = 50
READ_ALONE = 10_000
"""Images at most, for the reader alone."""


def show_measured() -> None:
    """Print what was measured on the packed workspace that the command line names."""
    from finetune_trainer.model.network import load, load_preprocessing
    from finetune_trainer.model.reader import Reader
    from finetune_trainer.model.stage import build
    from finetune_trainer.recipes import tutorial

    prepared = make_run(Path(sys.argv[1]), source={"uri": "file:///"}, threads=available_cpus())
    build(prepared.run)
    model = prepared.run.paths.job / "model"
    recipe = dataclasses.replace(tutorial.recipe(reason="the bench"), epochs=1)
    reader = Reader.of(
        prepared.directory / "train.rec",
        load_preprocessing(model),
        batch_size=recipe.batch_size,
        threads=prepared.run.threads,
    )
    first, rest = _read(reader)
    print(f"reader alone: {rest * reader.batch_size:.0f} images/s after {1000 * first:.0f} ms")
    _train(prepared, load(model), reader, recipe)


def _read(reader: Any) -> tuple[float, float]:
    """Return the seconds until the first batch, and the batches a second from then on."""
    began = time.perf_counter()
    batches = reader.shuffled("crop", seed=1)
    next(batches).data[0].wait_to_read()
    opened, count = time.perf_counter(), 0
    for batch in itertools.islice(batches, READ_ALONE // reader.batch_size):
        batch.data[0].wait_to_read()
        count += 1
    return opened - began, count / (time.perf_counter() - opened)


def _train(prepared: Prepared, network: Any, reader: Any, recipe: Any) -> None:
    import mxnet as mx
    from finetune_trainer.fit import tasks
    from finetune_trainer.fit.checkpoint import Checkpoint
    from finetune_trainer.fit.fit_progress import FitProgress
    from finetune_trainer.fit.loop import run_epochs
    from finetune_trainer.fit.stall import Stall
    from finetune_trainer.model.inference import contexts_of
    from finetune_trainer.run import threads
    from finetune_trainer.run.gang import Gang
    from finetune_trainer.run.signals import Signals

    plan = threads.for_training(batch_size=reader.batch_size, cpus=prepared.run.threads)
    contexts = contexts_of(gpus=0, cpus=plan.contexts)
    task = tasks.on_images(
        network,
        recipe,
        train=reader,
        validation=reader,
        contexts=contexts,
        gang=Gang(),
    )
    stall, seconds = Stall(), []

    def batches(seed: int) -> Iterator[Any]:
        began = time.perf_counter()
        for batch in stall.watch(itertools.islice(task.batches(seed), STEPS)):
            yield batch
            mx.nd.waitall()  # the way back goes on when the loop has the outputs: no stall
        seconds.append(time.perf_counter() - began)

    with Signals() as signals:
        total = STEPS * reader.batch_size * task.cost
        progress = FitProgress(prepared.run.reporter, signals, total=total)
        few = dataclasses.replace(task, batches=batches, steps=STEPS)
        run_epochs(few, recipe, Checkpoint(), None, progress)
    share = 100 * stall.seconds / seconds[0]
    print(
        f"{STEPS} steps of {reader.batch_size} images on {len(contexts)} CPU contexts:"
        f" {STEPS * reader.batch_size / seconds[0]:.1f} images/s,"
        f" {stall.seconds:.2f} of {seconds[0]:.1f} s waiting for data: {share:.2f} % (wanted < 5)"
    )


def main() -> None:
    """Pack, then measure in a process of its own: MXNet reads its settings when imported."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=50_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        photos, workspace = Path(directory, "photos"), Path(directory, "workspace")
        make_different_photos(photos, count=options.photos)
        image, threads = {"resizeShort": RESIZE}, available_cpus()
        prepared = prepare_photos(workspace, photos, threads=threads, image=image)
        print(f"{prepared.status.train_images} images to train in {prepared.directory.name:.12}")
        program = "import bench.read; bench.read.show_measured()"
        settings = {"OMP_NUM_THREADS": "1", "MXNET_SUBGRAPH_VERBOSE": "0"}
        subprocess.run(
            [sys.executable, "-c", program, str(workspace)], env=os.environ | settings, check=True
        )


if __name__ == "__main__":
    main()
