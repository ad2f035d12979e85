"""The stage `export`: writes the model to the job's output, whole or not at all.

`URI/NAME/UID/` belongs to this job alone; `URI/NAME/latest.json` points to the newest model.
Imports no MXNet.
"""

import hashlib
import shutil
from pathlib import Path

from finetune_trainer.contract import OutputStatus
from finetune_trainer.evaluate.metrics import Evaluation, as_decimal
from finetune_trainer.export.artifacts import add_artifacts
from finetune_trainer.model.exported import LATEST, MANIFEST, NAMES, Latest, ModelManifest
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import EVALUATION, EXPORTED, FITTED, Exported, Fitted
from finetune_trainer.storage.outputs import find_place


def export(run: Run) -> None:
    """Write the fitted model, its report and their digests to the output."""
    place = find_place(run)
    if place is None:
        run.hand_on(EXPORTED, Exported())
        return
    best = Path(files.read_json(run.paths.job / FITTED, Fitted).directory)
    evaluation = files.read_json(run.paths.job / EVALUATION, Evaluation)
    with place.whole_model(last=MANIFEST) as staged:
        for source, name in NAMES.items():
            shutil.copyfile(best / source, staged / name)
        add_artifacts(run, evaluation, staged)
        manifest = _manifest(run, staged)
        files.write_json(staged / MANIFEST, manifest)
    accuracy = float(as_decimal(evaluation.accuracy))
    place.write_json(LATEST, Latest(uid=run.job.uid, digest=manifest.digest, accuracy=accuracy))
    status = OutputStatus(uri=place.model_uri, digest=manifest.digest)
    run.hand_on(EXPORTED, Exported(status=status))


def _manifest(run: Run, directory: Path) -> ModelManifest:
    digests = {path.name: files.sha256_of(path) for path in sorted(directory.iterdir())}
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    return ModelManifest(
        name=run.job.name,
        namespace=run.job.namespace,
        uid=run.job.uid,
        digest=hashlib.sha256(lines.encode()).hexdigest(),
        files=digests,
    )
