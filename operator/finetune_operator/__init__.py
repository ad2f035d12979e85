"""The finetune-operator: watches FineTuneJobs and runs each as batch/v1 Jobs, one per attempt."""

__version__ = "0.1.0"
