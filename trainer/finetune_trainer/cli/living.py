"""Asks the API server which FineTuneJobs exist, with the rights of this pod's ServiceAccount."""

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import msgspec

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.run.prune import Living

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Folder in which Kubernetes mounts the token of a pod's ServiceAccount."""
_TIMEOUT_SECONDS = 60
_RIGHTS = (
    "Nothing was removed. Give the pod's ServiceAccount a Role that may list finetunejobs of "
    "finetune-operator.dev: see deploy/workspace-clean-up.yaml."
)
_AGAIN = "Nothing was removed. Run it again when the API server is well."
_REFUSALS = {
    401: (ExitCode.PermissionDenied, _RIGHTS),
    403: (ExitCode.PermissionDenied, _RIGHTS),
    404: (
        ExitCode.InputNotFound,
        "Nothing was removed. This cluster has no FineTuneJobs: clean up where they are applied.",
    ),
}


class _Metadata(msgspec.Struct):
    uid: str


class _Condition(msgspec.Struct):
    type: str
    status: str


class _Status(msgspec.Struct, frozen=True):
    conditions: tuple[_Condition, ...] = ()


class _FineTuneJob(msgspec.Struct):
    metadata: _Metadata
    status: _Status = _Status()

    @property
    def finished(self) -> bool:
        """True if no attempt follows."""
        conditions = self.status.conditions
        return any(c.type in ("Complete", "Failed") and c.status == "True" for c in conditions)


class _List(msgspec.Struct):
    items: list[_FineTuneJob]


def read_living(environment: Mapping[str, str]) -> Living | None:
    """Return the FineTuneJobs of this pod's namespace; None outside a cluster.

    Raises TrainerError if the API server does not say: then nothing may be removed.
    """
    if not ACCOUNT.is_dir():
        return None
    namespace = (ACCOUNT / "namespace").read_text()
    host, port = (environment[f"KUBERNETES_SERVICE_{each}"] for each in ("HOST", "PORT"))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    path = f"apis/finetune-operator.dev/v1alpha1/namespaces/{namespace}/finetunejobs"
    request = urllib.request.Request(f"https://{address}/{path}")
    request.add_header("Authorization", f"Bearer {(ACCOUNT / 'token').read_text()}")
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
    )
    try:
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
            jobs = msgspec.json.decode(response.read(), type=_List).items
    except urllib.error.HTTPError as error:
        error.close()
        what = f"The API server answers {error.code} to a list of FineTuneJobs in {namespace}."
        code, hint = _REFUSALS.get(error.code, (ExitCode.TemporaryFailure, _AGAIN))
        raise TrainerError(code, what, hint) from error
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
        what = f"The FineTuneJobs in {namespace} cannot be listed: {error}"
        raise TrainerError(ExitCode.TemporaryFailure, what, _AGAIN) from error
    return Living(namespace, {job.metadata.uid: job.finished for job in jobs})
