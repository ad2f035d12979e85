"""A query for each metric that every FineTuneJob has."""

from deploy.render.dashboards.queries.series import of_job


def progress() -> str:
    """Progress, 0 to 1."""
    return of_job("finetune_job_progress_ratio")


def remaining() -> str:
    """Seconds to the estimated end."""
    return of_job("finetune_job_remaining_seconds")


def accuracy() -> str:
    """Accuracy on the validation images."""
    return of_job("finetune_job_accuracy")


def train_accuracy() -> str:
    """Accuracy on the training images."""
    return of_job("finetune_job_train_accuracy")


def train_loss() -> str:
    """Loss on the training images."""
    return of_job("finetune_job_train_loss")


def learning_rate() -> str:
    """Learning rate of the last finished epoch."""
    return of_job("finetune_job_learning_rate")


def images_per_second() -> str:
    """Images per second in the last finished epoch."""
    return of_job("finetune_job_images_per_second")


def data_wait() -> str:
    """Share of the last epoch in which the fit waited for data."""
    return of_job("finetune_job_data_wait_ratio")


def epoch() -> str:
    """Finished epochs."""
    return of_job("finetune_job_epoch")


def attempts() -> str:
    """Attempts started."""
    return of_job("finetune_job_attempts")


def failures() -> str:
    """Attempts that failed and count against backoffLimit."""
    return of_job("finetune_job_failures")


def disruptions() -> str:
    """Attempts that were disrupted, which do not count."""
    return of_job("finetune_job_disruptions")


def gpus() -> str:
    """GPUs that the job asks for."""
    return of_job("finetune_job_gpus")


def created() -> str:
    """When it was created, in ms, as Grafana counts time."""
    return f"1000 * {of_job('finetune_job_created_timestamp_seconds')}"


def started() -> str:
    """When its first attempt was started, in ms."""
    return f"1000 * {of_job('finetune_job_start_timestamp_seconds')}"


def ended() -> str:
    """When it ended, in ms."""
    return f"1000 * {of_job('finetune_job_completion_timestamp_seconds')}"


def saved() -> str:
    """When its newest checkpoint was saved, in ms."""
    return f"1000 * {of_job('finetune_job_checkpoint_timestamp_seconds')}"


def until() -> str:
    """A minute after its end, or after now, in ms: where its curves end."""
    now = f"(0 * {of_job('finetune_job_created_timestamp_seconds')} + 1000 * time())"
    return f"({ended()} or {now}) + 60000"


def ran_for() -> str:
    """Seconds from the start to the end, or until now."""
    start = of_job("finetune_job_start_timestamp_seconds")
    end = of_job("finetune_job_completion_timestamp_seconds")
    return f"({end} or (0 * {start} + time())) - {start}"
