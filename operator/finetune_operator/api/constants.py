"""Labels, condition types and reasons that the operator writes; each is part of the API.

Beside these the phases (types.Phase) are reasons of Events, with the kind before them.
"""

GROUP = "finetune-operator.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "FineTuneJob"
PLURAL = "finetunejobs"
CONTAINER = "trainer"
TRAINER_PORT = 8080

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_JOB = f"{GROUP}/job-name"
LABEL_JOB_UID = f"{GROUP}/job-uid"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_ROLE = f"{GROUP}/role"
ROLE_PREPARE = "prepare"
ROLE_TRAIN = "train"
LABEL_INDEX = "batch.kubernetes.io/job-completion-index"
KUEUE_GROUP = "kueue.x-k8s.io"
LABEL_QUEUE = f"{KUEUE_GROUP}/queue-name"
# Kueue reads these from a Job; priority-class names a WorkloadPriorityClass.
KUEUE_LABELS = (
    LABEL_QUEUE,
    f"{KUEUE_GROUP}/priority-class",
    f"{KUEUE_GROUP}/max-exec-time-seconds",
)
LABEL_WORKLOAD_JOB = f"{KUEUE_GROUP}/job-uid"
MANAGER = "finetune-operator"
CHILD_SELECTOR = LABEL_JOB_UID  # exists; policies rewrite the shared app.kubernetes.io labels

SUSPENDED = "Suspended"
DATASET_READY = "DatasetReady"
PODS_READY = "PodsReady"
RUNNING = "Running"
METRICS_AVAILABLE = "MetricsAvailable"
COMPLETE = "Complete"
PREPARED = "Prepared"
FAILED = "Failed"
# kstatus knows these two: https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus
RECONCILING = "Reconciling"
STALLED_CONDITION = "Stalled"

# Reasons of an ended attempt; the trainer's exit codes give most of them.
INVALID_SPEC = "InvalidSpec"
INVALID_DATA = "InvalidData"
INPUT_NOT_FOUND = "InputNotFound"
PERMISSION_DENIED = "PermissionDenied"
UNSUPPORTED_HARDWARE = "UnsupportedHardware"
INTERNAL_ERROR = "InternalError"
OUTPUT_NOT_WRITABLE = "OutputNotWritable"
INPUT_OUTPUT_ERROR = "InputOutputError"
TEMPORARY_FAILURE = "TemporaryFailure"
ACCURACY_BELOW_MINIMUM = "AccuracyBelowMinimum"
DIVERGED = "Diverged"
STALLED = "Stalled"
PEER_LOST = "PeerLost"
DEVICE_OUT_OF_MEMORY = "DeviceOutOfMemory"
OUT_OF_MEMORY = "OutOfMemory"
CRASHED = "Crashed"
INTERRUPTED = "Interrupted"
DISRUPTED = "Disrupted"
POD_REJECTED = "PodRejected"
JOB_DELETED = "JobDeleted"
RESULT_LOST = "ResultLost"
UNKNOWN_ERROR = "UnknownError"

TIME_TO_LIVE_ENDED = "TimeToLiveEnded"
CONTAINER_RUNS_ON = "ContainerRunsOn"
UNREADABLE = "Unreadable"

# Reasons of conditions while the job goes on. SUSPENDING: Status.suspending reads it back.
REPORTED = "Reported"
UNREACHABLE = "Unreachable"
QUEUED = "Queued"
SCHEDULING_GATED = "SchedulingGated"
RUNS_ELSEWHERE = "RunsElsewhere"
STARTING = "Starting"
PREPARING = "Preparing"
TRAINING = "Training"
SUSPENDING = "Suspending"
RESUMED = "Resumed"

# Reasons why a FineTuneJob failed or waits.
NAME_TAKEN = "NameTaken"
WORKSPACE_NOT_SHARED = "WorkspaceNotShared"
DEADLINE_EXCEEDED = "DeadlineExceeded"
STARTUP_DEADLINE_EXCEEDED = "StartupDeadlineExceeded"
BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
IMAGE_PULL_ERROR = "ImagePullError"
UNSCHEDULABLE = "Unschedulable"
CLAIM_NOT_FOUND = "ClaimNotFound"
CLAIM_NOT_BOUND = "ClaimNotBound"
CONFIG_ERROR = "ConfigError"
CONTAINER_ERROR = "ContainerError"
DELETION_BLOCKED = "DeletionBlocked"
MOUNT_FAILED = "MountFailed"
POD_NOT_STARTING = "PodNotStarting"
CREATE_REFUSED = "CreateRefused"
QUEUE_BLOCKED = "QueueBlocked"
WORKLOAD_DEACTIVATED = "WorkloadDeactivated"
WRITE_REFUSED = "WriteRefused"
