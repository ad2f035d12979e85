"""Small networks, random records, and a job's directory in which `fit` and later stages can run."""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import mxnet as mx
import numpy as np
from finetune_trainer.contract import DatasetStatus, Job, ModelStatus
from finetune_trainer.dataset.lock import FORMAT, File, LockHeader, Settings, SplitName, write_lock
from finetune_trainer.fit.tasks import Task
from finetune_trainer.model import network
from finetune_trainer.model.network import Network, Preprocessing
from finetune_trainer.run import files, owner
from finetune_trainer.run.context import Paths, Run
from finetune_trainer.run.handoff import BUILT, PACKED, Built, Packed
from finetune_trainer.run.reporter import Reporter
from PIL import Image

SIZE = 16
MEAN = (120.0, 110.0, 100.0)
STD = (60.0, 61.0, 62.0)


def write_records(path: Path, labels: list[int], *, seed: int = 0) -> None:
    """Write a .rec and its .idx: for each label one noisy picture in a hue of its own."""
    random = np.random.default_rng(seed)
    records = mx.recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "w")
    for index, label in enumerate(labels):
        pixels = random.integers(0, 120, (SIZE + 6, SIZE + 8, 3))
        pixels[..., label % 3] += 90 + 20 * (label // 3)
        encoded = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(encoded, "JPEG", quality=95)
        header = mx.recordio.IRHeader(0, float(label), index, 0)
        records.write_idx(index, mx.recordio.pack(header, encoded.getvalue()))
    records.close()


def small_network(classes: int, *, dropout: float = 0.2) -> Network:
    """Return a network as the stage `model` leaves it: random parameters, none for the head."""
    x = mx.sym.Convolution(mx.sym.var("data"), name="conv", num_filter=8, kernel=(3, 3))
    x = mx.sym.BatchNorm(x, name="bn", fix_gamma=False, momentum=0.9)
    x = mx.sym.Activation(x, name="relu", act_type="relu")
    x = mx.sym.Pooling(x, name="pool", global_pool=True, pool_type="avg", kernel=(1, 1))
    x = mx.sym.Dropout(mx.sym.Flatten(x, name="flatten"), p=dropout, name="features")
    x = mx.sym.FullyConnected(x, name="fc1", num_hidden=classes)
    symbol = mx.sym.SoftmaxOutput(x, name="softmax")
    args, aux = random_params(symbol, seed=3)
    return Network(symbol, {n: v for n, v in args.items() if not n.startswith("fc1")}, aux)


def random_params(
    symbol: mx.sym.Symbol, *, seed: int, size: int = SIZE
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return parameters of a symbol whose first input is images, as a pretrained network would
    have them."""
    data, *others = symbol.list_arguments()
    labels = [(name, (1,)) for name in others if name.endswith("_label")]
    module = mx.mod.Module(symbol, data_names=[data], label_names=[name for name, _ in labels])
    module.bind([(data, (1, 3, size, size))], labels or None, for_training=False)
    mx.random.seed(seed)
    module.init_params(mx.init.Xavier())
    args, aux = module.get_params()
    return args, aux


@dataclasses.dataclass
class Reports:
    """The lines that a stage reports."""

    lines: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    watch: Callable[[dict[str, Any]], None] = lambda line: None

    def send(self, line: bytes) -> None:
        """Receive one line, as the supervisor does."""
        self.lines.append(json.loads(line))
        self.watch(self.lines[-1])


def make_run(
    root: Path,
    *,
    train: list[int],
    validation: list[int],
    training: dict[str, Any] | None = None,
    output: str | None = None,
    threads: int = 1,
    uid: str = "uid-1",
) -> tuple[Run, Reports]:
    """Return a job after the stage `model`: records of the given labels and a small network."""
    packed, job_directory = root / "packed", root / "jobs" / uid
    packed.mkdir(parents=True, exist_ok=True)
    write_records(packed / "train.rec", train, seed=1)
    write_records(packed / "val.rec", validation, seed=2)
    classes = max(train) + 1
    _write_lock(packed, train, validation, classes=classes)
    owner.claim(job_directory, "pod-1")
    _write_handoff(job_directory, packed, classes=classes, counts=(len(train), len(validation)))
    body = {
        "name": "flowers",
        "namespace": "team",
        "uid": uid,
        "attempt": 1,
        "podUid": "pod-1",
        "model": {"name": "efficientnet-lite0"},
        "dataset": {"source": {"uri": "file:///photos"}, "image": {"resizeShort": 32}},
        "training": training or {"recipe": "tutorial"},
    } | ({"output": {"uri": output}} if output else {})
    reports = Reports()
    paths = Paths(workspace=root, claims=root / "claims", models=root / "models", job=job_directory)
    job = msgspec.convert(body, type=Job)
    return Run(job, paths, Reporter(reports.send), gpus=0, threads=threads), reports


def _write_lock(packed: Path, train: list[int], validation: list[int], *, classes: int) -> None:
    """Write the lock of records with the given labels; the photos are named in their order."""
    splits: tuple[tuple[SplitName, list[int]], ...] = (("train", train), ("validation", validation))
    settings = Settings(
        format=FORMAT, layout="Folder", framing="Crop", resize_short=32, jpeg_quality=95, seed=0
    )
    header = LockHeader(
        settings=settings,
        classes=tuple(f"class-{number}" for number in range(classes)),
        warnings=(),
        near_duplicates=(),
        near_duplicate_count=0,
    )
    photos = (
        File(path=f"{split}-{n:04}.jpg", fate="packed", label=label, split=split)
        for split, labels in splits
        for n, label in enumerate(labels)
    )
    write_lock(packed, header, photos)


def _write_handoff(job: Path, packed: Path, *, classes: int, counts: tuple[int, int]) -> None:
    status = DatasetStatus(
        classes=classes,
        train_images=counts[0],
        validation_images=counts[1],
        rejected_images=0,
        digest="d" * 64,
    )
    names = tuple(f"class-{number}" for number in range(classes))
    files.write_json(
        job / PACKED,
        Packed(
            directory=str(packed), classes=names, framing="Crop", resize_short=32, status=status
        ),
    )
    leave_built(job, classes=classes)


def leave_built(job: Path, *, classes: int) -> None:
    """Write the hand-off and files of the stage `model`."""
    model = job / "model"
    model.mkdir(exist_ok=True)
    network.save(small_network(classes), model)
    preprocessing = Preprocessing(input_size=SIZE, mean=MEAN, std=STD)
    files.write_json(model / network.PREPROCESSING, preprocessing)
    built = Built(
        directory=str(model),
        features="features_output",
        input_size=SIZE,
        mean=MEAN,
        std=STD,
        status=ModelStatus(name="small", sha256="0" * 64, head="fc"),
    )
    files.write_json(job / BUILT, built)


def bare_task(network: Network, shape: tuple[int, ...], contexts: list[Any], **others: Any) -> Task:
    """Return a task for a learner, with batches of this shape and no data."""
    return Task(
        network=network,
        batches=lambda seed: (),
        steps=1,
        validation=lambda: mx.io.NDArrayIter(np.zeros(shape), batch_size=shape[0]),
        whole=lambda trained: trained,
        shape=shape,
        contexts=contexts,
        cost=1.0,
        **others,
    )
