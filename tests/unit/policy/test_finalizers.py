"""Who keeps an object that is being deleted is named, with the command that frees it."""

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Metadata
from finetune_operator.policy.finalizers import keeping

from tests.support.builders import NOW


def test_fine_tune_job_that_somebodys_finalizer_keeps_names_it_and_the_remedy() -> None:
    kept = Metadata(
        name="photos",
        namespace="team",
        deletion_timestamp=NOW,
        finalizers=("foregroundDeletion", "backup.example.com/hold"),
    )
    failure = keeping(c.KIND, kept)
    assert failure
    assert (failure.reason, failure.pod) == (c.DELETION_BLOCKED, "")
    assert failure.message == (
        "FineTuneJob photos is being deleted, but kept by the finalizer 'backup.example.com/hold'."
    )
    assert "kubectl -n team edit finetunejob photos" in failure.hint


def test_object_that_is_not_deleted_or_that_kubernetes_alone_keeps_is_not_blocked() -> None:
    assert keeping("Pod", Metadata(finalizers=("example.com/eni",))) is None
    own = ("batch.kubernetes.io/job-tracking", "foregroundDeletion", "orphan")
    assert keeping("Pod", Metadata(finalizers=own, deletion_timestamp=NOW)) is None
