"""A machine of their own for tests of the cluster tool, made of namespaces.

Network, mounts and processes are separate from the host's, and /run, /var/lib and /var/log are
empty: a test sees everything the tool leaves, and disturbs no cluster that runs beside it.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster import packages, programs
from tests.cluster.network import SETTINGS

NAME = "finetune-cluster-test"
REPOSITORY = Path(__file__).parents[2]
KUBECONFIG = f"/var/lib/{NAME}/credentials/admin.kubeconfig"
_PREPARE = (
    "mount -t tmpfs none /run && mount -t tmpfs none /var/lib && mount -t tmpfs none /var/log"
    " && ip link set lo up && echo 0 >/proc/sys/net/ipv4/ip_forward"
)
# What the tool could leave: each command's whole output must be the same before and after.
_TRACES = {
    "processes": "exec ps -e -o comm=",  # no pipe: its own processes would come and go
    # Not the host's own below other folders: those may go at any time.
    "mounts": f"grep -E ' /(run|sys|var/log|var/lib/{NAME})' /proc/mounts",
    "devices": "ip -oneline link; ip -oneline address; ip route; ip -6 route",
    "rules": "nft list ruleset; iptables-save; ip6tables-save",
    "cgroups": f"find /sys/fs/cgroup -path '*{NAME}*'",
    "files": "find /run /var/lib /var/log",
    "settings": f"cd /proc/sys && grep . {' '.join(SETTINGS)}",
}


class Machine:
    """A context manager; `run` runs a command on it and returns what it printed."""

    def __enter__(self) -> Self:
        """Start the machine's first process, which reaps the others."""
        packages.ensure()
        namespaces = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        first = ["sh", "-ec", f"{_PREPARE}; echo; exec catatonit -P"]
        # All of it ends with this process, however that happens.
        tied = ["setpriv", "--pdeathsig", "KILL", "--"]
        self._process = subprocess.Popen(
            [*tied, "unshare", *namespaces, *first], stdout=subprocess.PIPE
        )
        assert self._process.stdout
        self._process.stdout.readline()
        pid = self._process.pid
        self._init = Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()
        self.cluster("down")  # the cgroups of a test that was killed
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the machine down; its namespaces go with its processes."""
        self.cluster("down")
        self._process.kill()
        self._process.communicate()

    def run(self, *command: str, text: str = "") -> str:
        """Run a command on the machine; an assertion fails with its output if it fails."""
        namespaces = ["--net", "--mount", "--pid", f"--wd={REPOSITORY}"]
        tools = ":".join(str(program.directory) for program in programs.ALL)
        environment = os.environ | {
            "FINETUNE_CLUSTER_NAME": NAME,
            "KUBECONFIG": KUBECONFIG,
            "PATH": f"{tools}:{os.environ['PATH']}",
        }
        result = subprocess.run(
            ["nsenter", f"--target={self._init}", *namespaces, *command],
            input=text,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )
        assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
        return result.stdout

    def cluster(self, *arguments: str) -> str:
        """Run the cluster tool."""
        return self.run(sys.executable, "-m", "tests.cluster", *arguments)

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """Run kubectl against the machine's cluster."""
        return self.run("kubectl", *arguments, text=text)

    def crash(self, *names: str) -> None:
        """Kill programs of the cluster by name; their children go on."""
        self.run("pkill", "-KILL", "--exact", "|".join(names))

    def traces(self) -> dict[str, set[tuple[str, int]]]:
        """Everything a cluster could leave on the machine, by kind: lines, and how often."""
        outputs = {name: self.run("sh", "-c", line) for name, line in _TRACES.items()}
        return {name: set(Counter(output.splitlines()).items()) for name, output in outputs.items()}
