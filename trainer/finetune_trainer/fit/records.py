"""Files of the job's directory that only the fit reads again, in a later attempt or another pod."""

from finetune_trainer.contract import Struct
from finetune_trainer.recipes.recipe import Recipe

TRIALS = "trials.json"
CHOSEN = "chosen.json"


MEETING = "gang.json"


class Trials(Struct):
    """fit -> fit of a later attempt: what `auto` has found out, by recipes' fingerprints."""

    fingerprint: str
    """Of what it was asked for."""
    spent: float = 0.0
    """Seconds of its budget."""
    lost: dict[str, int] = {}
    """How often a trial was begun and never ended."""
    correct: dict[str, str] = {}
    """1 for each image kept aside whose class was named, 0 for the others."""


class Chosen(Struct):
    """fit -> fit of a later attempt: what is fitted instead of what was asked for. It is what
    `auto` has chosen, with an end by early stopping, or in batches that fit into the GPU.
    """

    fingerprint: str
    """Of what was asked for."""
    recipe: Recipe


class Meeting(Struct):
    """The fit of a gang's leader -> that of the others: where they meet, and what from."""

    leader: str
    """Pod uid: a meeting of another pod is over."""
    host: str
    port: int
    fingerprint: str
    """Of what is fitted: all must have the same."""
    checkpoint: str | None = None
    """Directory of the checkpoint to start from; None: the beginning."""
