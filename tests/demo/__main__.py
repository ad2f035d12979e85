"""CLUSTER=node|kind|current python -m tests.demo: trains the sample on the demo photos."""

import io
import os
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from tests import demo_photos
from tests.demo.clusters import CLUSTERS, Cluster
from tests.demo.follow import Status, follow
from tests.demo.next_steps import next_steps, written
from tests.images.build import ROOT

NAMESPACE = "demo"
JOB = "photos"
RELEASE = "finetune-operator"
SYSTEM = "finetune-system"
PLAN = """\
This demo trains a classifier of 10 kinds of photos on Kubernetes, and does all it needs for it:
  1. a cluster ({where}), and the images of the operator and the trainer
  2. the operator, installed with Helm into the namespace {system}
  3. 265 photos, copied into a volume in the namespace {namespace}
  4. deploy/samples/finetunejob.yaml, applied and followed
The first run takes about 20 minutes on 2 cores (it compiles Kubernetes), later ones 1 to 2.
"""


def main() -> None:
    """Run the demo."""
    where = os.environ.get("CLUSTER", "node")
    if where not in CLUSTERS:
        raise SystemExit(f"CLUSTER={where} is not one of {', '.join(CLUSTERS)}")
    print(PLAN.format(where=where, system=SYSTEM, namespace=NAMESPACE))
    say("1. the cluster and the images")
    cluster = CLUSTERS[where]()
    say("2. the operator")
    install_operator(cluster)
    say("3. the photos")
    fill_volume(cluster)
    say("4. the FineTuneJob")
    status = train(cluster)
    cluster.show("kubectl", "--namespace", NAMESPACE, "get", "finetunejob")
    explain(cluster, status)


def install_operator(cluster: Cluster, *values: str) -> None:
    """Install or upgrade the chart, with more values, and wait until the operator is ready."""
    command = ["helm", "upgrade", "--install", RELEASE, str(ROOT / "charts/finetune-operator")]
    command += ["--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "3m"]
    for value, image in (("image", cluster.operator), ("trainer.image", cluster.trainer)):
        repository, _, tag = image.rpartition(":")
        command += ["--set-string", f"{value}.repository={repository},{value}.tag={tag}"]
    command += [f"--set={value}" for value in values]
    try:
        cluster.run(*command)
    except SystemExit:
        cluster.show("kubectl", "--namespace", SYSTEM, "get", "pods")
        cluster.show("kubectl", "--namespace", SYSTEM, "logs", f"deployment/{RELEASE}", "--tail=20")
        raise


def fill_volume(cluster: Cluster) -> None:
    """Copy the photos into the claim `photos` through a short-lived pod."""
    kubectl = ("kubectl", "--namespace", NAMESPACE)
    cluster.run("kubectl", "apply", "--filename", str(ROOT / "deploy/demo/volumes.yaml"))
    # An earlier run's job holds the volumes, and its specification cannot be changed.
    cluster.run(*kubectl, "delete", "finetunejob", JOB, "--ignore-not-found", "--timeout=3m")
    cluster.run(*kubectl, "delete", "pod", "filler", "--ignore-not-found", "--timeout=1m")
    pod = (ROOT / "deploy/demo/filler.yaml").read_text().replace("TRAINER_IMAGE", cluster.trainer)
    cluster.run("kubectl", "apply", "--filename", "-", stdin=pod.encode())
    photos = archive_of_photos()
    cluster.run(*kubectl, "wait", "pod", "filler", "--for=condition=Ready", "--timeout=3m")
    unpack = ("tar", "--extract", "--no-same-permissions", "--touch", "--directory", "/photos")
    cluster.run(*kubectl, "exec", "--stdin", "filler", "--", *unpack, stdin=photos)
    cluster.run(*kubectl, "delete", "pod", "filler", "--timeout=1m")


def archive_of_photos() -> bytes:
    """Return the photos as a tar archive, one folder for each class."""
    archive = io.BytesIO()
    with tempfile.TemporaryDirectory() as name:
        count = demo_photos.lay_out(Path(name))
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for folder in sorted(Path(name).iterdir()):
                tar.add(folder, arcname=folder.name)
    say(f"   {count} photos, {archive.tell() / 1e6:.0f} MB")
    return archive.getvalue()


def train(cluster: Cluster) -> Status:
    """Apply the sample and follow it to its end."""
    sample = ROOT / "deploy/samples/finetunejob.yaml"
    start = time.monotonic()
    cluster.run("kubectl", "--namespace", NAMESPACE, "apply", "--filename", str(sample))
    try:
        status = follow(cluster, namespace=NAMESPACE, name=JOB)
    except KeyboardInterrupt:
        raise SystemExit(f"\nThe job goes on: kubectl -n {NAMESPACE} get ftj {JOB} -w") from None
    say(f"{status['phase']} {time.monotonic() - start:.0f} s after it was applied\n")
    return status


def explain(cluster: Cluster, status: Status) -> None:
    """Say where the model is and what to do next, or why there is none and what to do about it."""
    if status["phase"] == "Complete":
        print(f"\nThe model is in {status['output']['uri']}. Lines for this shell to go on with:")
        print(*written(next_steps(cluster, status)), sep="\n")
        return
    failure = status["failure"]
    print(f"\nFailed, {failure['reason']}: {failure['message']}")
    if failure.get("hint"):
        print(f"What to do: {failure['hint']}")
    if failure.get("logTail"):
        print("\nThe end of its log:", *failure["logTail"], sep="\n  ")
    sys.exit(1)


def say(text: str) -> None:
    """Show a step at once, also in a log."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
