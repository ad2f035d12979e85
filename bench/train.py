"""Speed of training and of feature extraction: MXNet as the recipes use it against PyTorch.

`python -m bench.train PYTHON` takes the interpreter of `make parity`, which has PyTorch. The same
networks with random weights, the same batch and CPUs, random images that are in memory already; in
turn, five times, each in a process of its own; printed are medians of images/s and of ratios.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from finetune_trainer import pipeline
from finetune_trainer.run import threads
from finetune_trainer.run.cgroup import available_cpus

BATCH, STEPS, WARM, PAIRS = 32, 8, 3, 5
SIZE, CLASSES = 224, 10
WANTED = {
    ("training", "efficientnet-lite0"): 0.95,
    ("training", "resnet-18"): 1.1,
    ("features", "efficientnet-lite0"): 2.5,
}


def main(arguments: Sequence[str]) -> None:
    """Print a line for each pair of networks and work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", help="an interpreter that has PyTorch")
    python = parser.parse_args(arguments).python
    for (what, name), wanted in WANTED.items():
        pairs = [_measure_pair(python, what, name) for _ in range(PAIRS)]
        ours, others = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(left / right for left, right in pairs)
        print(
            f"{what} {name}: MXNet {ours:.1f}, PyTorch {others:.1f} images/s,"
            f" {ratio:.3f} times as fast (wanted {wanted})",
            flush=True,
        )


def _measure_pair(python: str, what: str, name: str) -> tuple[float, float]:
    cpus = available_cpus()
    plan = threads.for_inference(cpus=cpus)
    if what == "training":
        plan = threads.for_training(batch_size=BATCH, cpus=cpus)
    environment = os.environ | pipeline.SETTINGS | {"OMP_NUM_THREADS": str(plan.omp_threads)}
    ours = [sys.executable, "-m", "bench.train", f"--{what}", name, str(plan.contexts)]
    reference = Path(__file__).with_name("train_reference.py")
    numbers = (BATCH, STEPS if what == "training" else 4 * STEPS, cpus)
    theirs = [python, str(reference), what, name, *map(str, numbers)]
    return _printed(ours, environment), _printed(theirs, dict(os.environ))


def _printed(command: list[str], environment: dict[str, str]) -> float:
    ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(ran.stdout.split()[-1])


def train(name: str, contexts: int) -> float:
    """Return images per second of updates, as the loop makes them."""
    import mxnet as mx
    from finetune_trainer.fit.checkpoint import Checkpoint
    from finetune_trainer.fit.fit_progress import TRAINING_COST
    from finetune_trainer.fit.learner import Learner
    from finetune_trainer.fit.tasks import Task
    from finetune_trainer.model.network import Network
    from finetune_trainer.recipes import tutorial

    batch = _batch()
    task = Task(
        network=Network(_symbol(name), {}, {}),
        batches=lambda seed: [batch],
        steps=STEPS,
        validation=lambda: None,
        whole=lambda network: network,
        shape=batch.data[0].shape,
        contexts=[mx.cpu(number) for number in range(contexts)],
        cost=TRAINING_COST,
    )
    learner = Learner(task, tutorial.recipe(reason="the bench"), Checkpoint(), seed=0)

    def step() -> None:
        learner.learn(batch)
        learner.update(rate=1.0)
        mx.nd.waitall()

    for _ in range(WARM):
        step()
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    return BATCH * STEPS / (time.perf_counter() - began)


def extract(name: str, contexts: int) -> float:
    """Return images per second through the trunk, as features are extracted."""
    import mxnet as mx
    from finetune_trainer.model.inference import forward
    from finetune_trainer.model.network import Network

    symbol = _symbol(name)
    trunk = symbol.get_children()[0].get_children()[0]
    module = mx.mod.Module(trunk, label_names=None)
    module.bind([("data", (1, 3, SIZE, SIZE))], for_training=False)
    module.init_params(mx.init.Xavier())
    steps = 4 * STEPS
    answers = forward(
        Network(trunk, *module.get_params()),
        _Repeated(_batch(), WARM + steps),
        [mx.cpu(number) for number in range(contexts)],
    )
    for _ in range(WARM):
        next(answers)
    began = time.perf_counter()
    images = sum(len(values) for _, values in answers)
    return images / (time.perf_counter() - began)


class _Repeated:
    """An iterator of the same batch, `times` times."""

    def __init__(self, batch: Any, times: int) -> None:
        self._batch, self._times = batch, times
        self.provide_data = batch.provide_data

    def __iter__(self) -> Iterator[Any]:
        return iter([self._batch] * self._times)


def _symbol(name: str) -> Any:
    from finetune_trainer.model.architectures.assemble import ARCHITECTURES

    return ARCHITECTURES[name].symbol(size=SIZE, classes=CLASSES)


def _batch() -> Any:
    import mxnet as mx

    random = np.random.default_rng(0)
    images = mx.nd.array(random.normal(size=(BATCH, 3, SIZE, SIZE)))
    return mx.io.DataBatch(
        [images],
        [mx.nd.array(np.arange(BATCH) % CLASSES)],
        pad=0,
        provide_data=[mx.io.DataDesc("data", images.shape)],
    )


if __name__ == "__main__":
    if sys.argv[1] in ("--training", "--features"):
        measure = train if sys.argv[1] == "--training" else extract
        print(measure(sys.argv[2], int(sys.argv[3])))
    else:
        main(sys.argv[1:])
