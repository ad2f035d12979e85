"""The trainer contract: the job it is given, what it reports while it runs, and how it ends.

The types of `model`, `dataset`, `training` and `output` are also the source of that half of the
FineTuneJob CRD (bounds and rules are in the metadata). Imports no MXNet: the supervisor, the CLI
and the CRD generator all read this module.
"""

from finetune_trainer.contract.dataset import BadImages, Csv, Dataset, Framing, Image, Split
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
