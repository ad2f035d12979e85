"""What the pages and the end of the demo tell a user to type for a cluster works as it stands.

In this order: the demo makes what the pages take for given, and the last page takes all away.
"""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from tests.cluster import cluster as node
from tests.cluster import images, volumes
from tests.cluster.layout import KUBECONFIG
from tests.demo.__main__ import RELEASE, SYSTEM, explain, fill_volume, install_operator, train
from tests.demo.clusters import TARGETS, VERSION, Cluster
from tests.demo.next_steps import PORT, next_steps
from tests.docs.pages import FENCE, NOTES, ROOT, Command, commands_in, commands_of, pages
from tests.docs.places import place_of
from tests.docs.shell import Shell, plain_environment

REGISTRY = "registry.example"
LAST = "deploy/demo/README.md"  # its last command takes all away
COMPLETE = r"Complete +0\.\d+"


@pytest.fixture(scope="module")
def demo(cluster: Cluster) -> Iterator[Cluster]:
    """The node with the namespace of the demo and its photos; both are as before afterwards."""
    volumes.recycle(node.connect())
    fill_volume(cluster)
    yield cluster
    cluster.run("kubectl", "delete", "namespace", "demo", "--ignore-not-found", "--timeout=2m")
    volumes.recycle(node.connect())
    install_operator(cluster)


def test_each_line_that_the_demo_ends_with_can_be_copied(
    demo: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = train(demo)
    capsys.readouterr()
    explain(demo, status)
    printed = capsys.readouterr().out.splitlines()
    for name in ("deploy", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    for lines in next_steps(demo, status).values():
        for line in lines:
            assert line in printed
            follow_line(f"{demo.enter}; {line}", Shell(tmp_path, plain_environment()))
    assert f"{100 * float(status['accuracy']):.1f}" in report_of(tmp_path)


def follow_line(line: str, shell: Shell) -> None:
    """Run a line as its reader would, one without an end for as long as they would."""
    if line.endswith("make cluster-down"):
        return  # see tests/docs/places.py
    if "http.server" in line:
        with shell.started(line):
            assert report_of(shell.directory) == page_of("report.html")
    elif "--watch" in line:
        shell.run_until(r"tutorial +(Starting|Preparing|Training)", line)
    else:
        printed = shell.run(line)
        assert "predict" not in line or "bird" in printed


def report_of(directory: Path) -> str:
    return (directory / "demo-model/report.html").read_text()


def page_of(name: str) -> str:
    """Return a page of the server in the user's shell, once it serves."""
    deadline = time.monotonic() + 20
    while True:
        try:
            answer = requests.get(f"http://127.0.0.1:{PORT}/{name}", timeout=5)
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            answer.encoding = "utf-8"
            return answer.text


@pytest.fixture(scope="module")
def user(demo: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The shell of a user of the cluster, who works in the namespace of the demo."""
    config = yaml.safe_load(KUBECONFIG.read_text())
    for context in config["contexts"]:
        context["context"]["namespace"] = "demo"
    path = tmp_path_factory.mktemp("user") / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return Shell(ROOT, demo.environment | {"KUBECONFIG": str(path)})


def test_manifests_of_the_pages_are_accepted(demo: Cluster, tmp_path: Path, user: Shell) -> None:
    texts = [(ROOT / page).read_text() for page in pages()]
    blocks = [content for text in texts for language, content in FENCE.findall(text)]
    manifests = [content for content in blocks if "kind: FineTuneJob" in content]
    assert manifests
    for content in manifests:
        (tmp_path / "job.yaml").write_text(content)
        create = f"kubectl -n default create --dry-run=server -f {tmp_path}/job.yaml"
        run(create, user)


def test_the_operator_is_installed_without_helm(demo: Cluster, user: Shell) -> None:
    push(demo)
    remove_operator(user)
    commands = [command for page in pages() for command in commands_of(page)]
    alone = [command for command in commands if place_of(command) == "node without Helm"]
    assert len(alone) == 1
    run(alone[0].text, user)
    run(f"kubectl -n {SYSTEM} rollout status deployment/{RELEASE} --timeout=2m", user)
    assert "photos" in run("kubectl explain finetunejob.spec.dataset", user)
    remove_operator(user)


def test_the_commands_of_the_pages_work_in_their_order(demo: Cluster, user: Shell) -> None:
    push(demo)
    remove_operator(user)
    for page in [*(page for page in pages() if page != LAST), LAST]:
        for command in commands_on_the_node(page, user):
            before(command, user)
            printed = run(command.text, user)
            if "--watch" in command.text:
                assert printed.splitlines()[0].split()[-7:] == readme_header()


def remove_operator(user: Shell) -> None:
    """Make the cluster one that has never had the operator; deleting the CRD deletes the jobs."""
    run(f"helm uninstall {RELEASE} --namespace {SYSTEM} --ignore-not-found --wait", user)
    kinds = "deployments,services,serviceaccounts,roles,rolebindings"
    kinds += ",clusterroles,clusterrolebindings,crds"
    mine = f"--selector app.kubernetes.io/instance={RELEASE}"
    run(f"kubectl delete {kinds} --namespace {SYSTEM} {mine} --timeout=2m", user)


def push(cluster: Cluster) -> None:
    """Put the images where the pages have them: in the registry, with the chart's version."""
    for each in node.running_nodes():
        for target in TARGETS:
            images.tag(each, getattr(cluster, target), f"{REGISTRY}/{target}:{VERSION}")


def readme_header() -> list[str]:
    """Return the columns that the README shows."""
    shown = re.search(r"^NAME .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert shown
    return shown[0].split()


def commands_on_the_node(page: str, user: Shell) -> list[Command]:
    """Return the page's commands for a cluster; Helm renders its notes itself.

    The README shows the table of jobs before it says how to install what has it.
    """
    commands = [command for command in commands_of(page) if place_of(command) == "node"]
    commands.sort(key=lambda command: not command.text.startswith("helm install"))
    if page != NOTES:
        return commands
    rendered = commands_in(run(f"helm get notes {RELEASE} --namespace {SYSTEM}", user), page=page)
    assert len(rendered) == len(commands)
    return rendered


def before(command: Command, user: Shell) -> None:
    """Make what the page takes for given at this command."""
    if command.text.endswith("--previous"):  # "Is it restarting?"
        kill = "python -c 'import os, signal; os.kill(1, signal.SIGTERM)'"
        for pod in json.loads(run(f"kubectl -n {SYSTEM} get pods -o json", user))["items"]:
            if "deletionTimestamp" not in pod["metadata"]:  # one that the last rollout replaced
                run(f"kubectl -n {SYSTEM} exec {pod['metadata']['name']} -- {kill}", user)
        run(f"timeout 90 bash -c 'until {command.text}; do sleep 1; done'", user)


def run(text: str, user: Shell) -> str:
    """Run a command of a page, with a real name for each placeholder."""
    line = text
    if "FAILURE_POD" in line:
        pods = run("kubectl get pods -l job-name=photos-1 -o name", user).split()
        line = line.replace("FAILURE_POD", pods[0].removeprefix("pod/"))
    for placeholder, name in (("REGISTRY", REGISTRY), ("NAMESPACE", "demo"), ("NAME", "photos")):
        line = re.sub(rf"\b{placeholder}\b", name, line)
    if re.search(r"\| grep [^|]*$", line):  # finds nothing when all is well
        line = f"{line} || test $? = 1"
    if line.endswith("--watch"):
        return user.run_until(COMPLETE, line)
    return user.run(line)
