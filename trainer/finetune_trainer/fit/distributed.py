"""The fit of a gang: one MXNet worker in each pod, and a kvstore that adds up their gradients.

MXNet's scheduler and parameter server run beside the leader's fit and end with it. The server only
adds. Each pod updates its own copy of the weights, all in the same way, so that the optimizer's
states can be saved and no code is sent to the server.
"""

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec
import mxnet as mx
from mxnet.base import _LIB, check_call

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.fit.checkpoint import Checkpoint, Checkpoints, directory_name
from finetune_trainer.fit.records import MEETING, Meeting
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.reporter import Reporter
from finetune_trainer.run.signals import Signals

T = TypeVar("T")
POLL_SECONDS = 0.5
_HELPERS = ("scheduler", "server")


@contextlib.contextmanager
def join(
    run: Run, signals: Signals, meeting: Meeting | None, fingerprint: str, start: Checkpoint
) -> Iterator[mx.kv.KVStore]:
    """Give the kvstore that adds up the gang's gradients, once all pods have joined. `meeting` is
    None on the leader, which writes the meeting: the address, and the checkpoint to start from.
    """
    if meeting:
        yield join_as_follower(run, meeting)
        mx.nd.waitall()
    else:
        host = own_address(run, signals)
        with join_as_leader(run, host=host, fingerprint=fingerprint, start=start) as kvstore:
            yield kvstore


def own_address(run: Run, signals: Signals) -> str:
    """Return the leader's own IP address. This waits for DNS, which knows a pod's name only some
    time after the pod has started.
    """
    deadline = time.monotonic() + run.gang.join_seconds

    def address() -> str | None:
        try:
            return socket.gethostbyname(run.gang.coordinator)
        except OSError as error:
            if time.monotonic() > deadline:
                raise TrainerError(
                    ExitCode.TemporaryFailure,
                    f"DNS does not know this pod's own name, {run.gang.coordinator}: {error}",
                    "check the cluster's DNS",
                ) from error
            return None

    note, stopped = "waiting until DNS knows this pod", "before all pods of the gang had joined"
    return _wait_for(address, run, signals, note=note, stopped=stopped)


@contextlib.contextmanager
def join_as_leader(
    run: Run, *, host: str, fingerprint: str, start: Checkpoint
) -> Iterator[mx.kv.KVStore]:
    """Start scheduler and server, write the meeting, and give the kvstore once all have joined."""
    meeting = Meeting(
        leader=run.job.pod_uid,
        host=host,
        port=_free_port(host),
        fingerprint=fingerprint,
        checkpoint=directory_name(start.step) if start.status else None,
    )
    environment = _environment(run, meeting)
    is_over = threading.Event()
    helpers = [_start(role, environment) for role in _HELPERS]
    for role, helper in zip(_HELPERS, helpers, strict=True):
        watch = (role, helper, is_over, run.reporter)
        threading.Thread(target=_watch, args=watch, daemon=True).start()
    try:
        run.hand_on(MEETING, meeting)
        yield _store(run, environment | {"DMLC_NODE_HOST": host})
        mx.nd.waitall()
    finally:
        is_over.set()
        for helper in helpers:
            helper.kill()


def wait_for_leader(run: Run, signals: Signals) -> Meeting:
    """Return the meeting, once the leader of this attempt has written it. The supervisor ends this
    pod if the leader dies.
    """

    def read_meeting() -> Meeting | None:
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            meeting = files.read_json(run.paths.job / MEETING, Meeting)
            if meeting.leader == run.gang.leader:
                return meeting
        return None

    note, stopped = "waiting until pod 0 of the gang is ready to fit", "while waiting for pod 0"
    return _wait_for(read_meeting, run, signals, note=note, stopped=stopped)


def _wait_for(
    poll: Callable[[], T | None], run: Run, signals: Signals, *, note: str, stopped: str
) -> T:
    began, waiting = time.monotonic(), run.reporter.waiting(note)
    while (found := poll()) is None:
        if signals.stop:
            raise TrainerError(ExitCode.Interrupted, f"stopped on request {stopped}")
        waiting(int(time.monotonic() - began))
        signals.wait(seconds=POLL_SECONDS)
    return found


def join_as_follower(run: Run, meeting: Meeting) -> mx.kv.KVStore:
    """Return the kvstore that adds up the gang's gradients, once all pods have joined."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((meeting.host, meeting.port))  # sends nothing: finds the route
        own = probe.getsockname()[0]
    return _store(run, _environment(run, meeting) | {"DMLC_NODE_HOST": own})


def load_start(run: Run, meeting: Meeting, fingerprint: str) -> Checkpoint:
    """Return the checkpoint that the leader starts from. Raises InputOutputError if this pod has
    another data set, network or recipe, or cannot read the checkpoint.
    """
    if meeting.fingerprint != fingerprint:
        raise TrainerError(
            ExitCode.InputOutputError,
            "this pod sees another data set, network or recipe in the workspace than pod 0",
            "the workspace must be one volume for all pods: ReadWriteMany",
        )
    if meeting.checkpoint is None:
        return Checkpoint()
    directory = run.paths.job / "checkpoints"
    try:
        return Checkpoints(directory, meeting.fingerprint, lambda: None).load(meeting.checkpoint)
    except (OSError, ValueError) as error:
        raise TrainerError(
            ExitCode.InputOutputError,
            f"this pod cannot read the checkpoint that pod 0 starts from: {error}",
            "the workspace must be one volume for all pods: ReadWriteMany",
        ) from error


def _environment(run: Run, meeting: Meeting) -> dict[str, str]:
    return {
        "DMLC_PS_ROOT_URI": meeting.host,
        "DMLC_PS_ROOT_PORT": str(meeting.port),
        "DMLC_NUM_WORKER": str(run.gang.nodes),
        "DMLC_NUM_SERVER": "1",
        "MXNET_UPDATE_ON_KVSTORE": "0",
    }


def _store(run: Run, environment: dict[str, str]) -> mx.kv.KVStore:
    os.environ.update(environment, DMLC_ROLE="worker")
    store = mx.kv.create("dist_device_sync" if run.gpus else "dist_sync")
    # A pod that has finished ends, whatever happens to the others.
    check_call(_LIB.MXKVStoreSetBarrierBeforeExit(store.handle, ctypes.c_int(0)))
    return store


def _start(role: str, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    own = {"CUDA_VISIBLE_DEVICES": "", "DMLC_NODE_HOST": environment["DMLC_PS_ROOT_URI"]}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "finetune_trainer.fit.parameter_server", role],
        env=os.environ | environment | own,
        stdin=subprocess.DEVNULL,
    )


def _watch(
    role: str, helper: "subprocess.Popen[bytes]", is_over: threading.Event, reporter: Reporter
) -> None:
    """End this process if the helper ends: MXNet would wait for the helper for ever."""
    status = helper.wait()
    if not is_over.is_set():
        reporter.error(
            code=ExitCode.InternalError,
            message=f"The gang's parameter {role} ended with status {status}",
            hint="-9 is most likely too little memory: raise trainer.resources.limits.memory.",
        )
        os._exit(ExitCode.InternalError)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
