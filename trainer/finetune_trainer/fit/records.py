"""Files in the job's directory that only the fit reads, in a later attempt or another pod."""

from finetune_trainer.contract import Struct
from finetune_trainer.recipes.recipe import Recipe

TRIALS = "trials.json"
CHOSEN = "chosen.json"
MEETING = "gang.json"


class Trials(Struct):
    """fit -> fit of a later attempt: the trials of `auto`, by the recipes' fingerprints."""

    fingerprint: str
    """Fingerprint of the requested recipe."""
    spent: float = 0.0
    """Seconds of the time budget that are used up."""
    lost: dict[str, int] = {}
    """Number of times that a trial was lost with its pod."""
    correct: dict[str, str] = {}
    """A digit for each held-out image: 1 if it was classified correctly, else 0."""


class Chosen(Struct):
    """fit -> fit of a later attempt: the recipe that replaces the requested one.

    It is the choice of `auto`, has its last epoch by early stopping, or has batches that fit into
    the GPU.
    """

    fingerprint: str
    """Fingerprint of the requested recipe."""
    recipe: Recipe


class Meeting(Struct):
    """fit of a gang's leader -> fit of its followers: address and start of the training."""

    leader: str
    """Pod uid of the leader; a meeting of another leader is out of date."""
    host: str
    port: int
    """Address of MXNet's scheduler, in the leader's pod."""
    fingerprint: str
    """Fingerprint of the fit, which must be equal on all pods."""
    checkpoint: str | None = None
    """Name of the checkpoint that all start from; None: there is none yet."""
