"""The trainer contract as types: the job that the trainer reads, and the reports that it writes.

values      numbers, URIs, Secrets and sources, with their CEL rules
model       spec.model
dataset     spec.dataset
sagemaker   SageMaker's hyperparameters: their names here, and their CEL rules
training    spec.training
job         spec.output, and the whole job
parse       FINETUNE_JOB becomes a Job; errors name the field
report      progress, result and termination message
errors      exit codes, and the error with a message and a hint
schema      all of it as one JSON schema

The types of `model`, `dataset`, `training` and `output` are the source of these sections of the
FineTuneJob CRD. To add a setting: one field here, with its docstring and bounds; `make render`.
Imports no MXNet: the supervisor, the CLI and the CRD generator read these modules.
"""

from finetune_trainer.contract.dataset import (
    BadImages,
    Csv,
    Dataset,
    Framing,
    GroupBy,
    Image,
    Split,
)
from finetune_trainer.contract.errors import ExitCode, TrainerError
from finetune_trainer.contract.job import Job, JobRef, Output
from finetune_trainer.contract.model import CatalogueName, Model, ModelSource, Normalization
from finetune_trainer.contract.report import (
    CheckpointStatus,
    DatasetStatus,
    Error,
    Metric,
    ModelStatus,
    OutputStatus,
    Progress,
    Result,
    Termination,
    TrainerStatus,
)
from finetune_trainer.contract.sagemaker import ALLOWED, SAGEMAKER
from finetune_trainer.contract.training import (
    IMAGE_FIELDS,
    IMAGE_RECIPES,
    Augmentation,
    EarlyStopping,
    Optimizer,
    RecipeName,
    Schedule,
    Training,
)
from finetune_trainer.contract.values import (
    Decimal,
    Fraction,
    Rules,
    SecretRef,
    Sha256,
    Source,
    Struct,
    Uri,
)

__all__ = [
    "ALLOWED",
    "IMAGE_FIELDS",
    "IMAGE_RECIPES",
    "SAGEMAKER",
    "Augmentation",
    "BadImages",
    "CatalogueName",
    "CheckpointStatus",
    "Csv",
    "Dataset",
    "DatasetStatus",
    "Decimal",
    "EarlyStopping",
    "Error",
    "ExitCode",
    "Fraction",
    "Framing",
    "GroupBy",
    "Image",
    "Job",
    "JobRef",
    "Metric",
    "Model",
    "ModelSource",
    "ModelStatus",
    "Normalization",
    "Optimizer",
    "Output",
    "OutputStatus",
    "Progress",
    "RecipeName",
    "Result",
    "Rules",
    "Schedule",
    "SecretRef",
    "Sha256",
    "Source",
    "Split",
    "Struct",
    "Termination",
    "TrainerError",
    "TrainerStatus",
    "Training",
    "Uri",
]
