"""The command lines of the control plane, for a whole node and for itself alone."""

from dataclasses import dataclass
from pathlib import Path

from tests.cluster import programs

SERVICE_CIDR = "10.96.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
PORT = 6443
# It would mark nodes without a kubelet as lost.
NODE_LIFECYCLE = "node-lifecycle-controller"


@dataclass(frozen=True, kw_only=True)
class Components:
    """Where one control plane lives: its files and its addresses, each with the usual ports."""

    directory: Path
    address: str
    loopback: str

    @property
    def credentials(self) -> Path:
        """The folder of certificates, tokens and kubeconfigs."""
        return self.directory / "credentials"

    @property
    def url(self) -> str:
        """Where the apiserver listens."""
        return f"https://{self.address}:{PORT}"

    def etcd(self) -> list[str]:
        """Keep the state; nothing of it needs to survive a power cut, so nothing is synced."""
        client, peer = f"http://{self.loopback}:2379", f"http://{self.loopback}:2380"
        return [
            program("etcd"),
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def apiserver(self, *extra: str) -> list[str]:
        """Serve the API on `address`, with RBAC and the default admission plugins."""
        files = self.credentials
        return [
            program("kube-apiserver"),
            f"--etcd-servers=http://{self.loopback}:2379",
            f"--bind-address={self.address}",
            f"--secure-port={PORT}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            f"--tls-cert-file={files / 'apiserver.crt'}",
            f"--tls-private-key-file={files / 'apiserver.key'}",
            f"--client-ca-file={files / 'ca.crt'}",
            f"--token-auth-file={files / 'tokens.csv'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={files / 'service-account.pub'}",
            f"--service-account-signing-key-file={files / 'service-account.key'}",
            f"--kubelet-client-certificate={files / 'kubelet-client.crt'}",
            f"--kubelet-client-key={files / 'kubelet-client.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged",
            *extra,
        ]

    def controller_manager(self, *extra: str) -> list[str]:
        """Run the controllers; without leader election they start at once."""
        files = self.credentials
        return [
            program("kube-controller-manager"),
            f"--kubeconfig={files / 'kube-controller-manager.kubeconfig'}",
            f"--service-account-private-key-file={files / 'service-account.key'}",
            f"--root-ca-file={files / 'ca.crt'}",
            f"--bind-address={self.loopback}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            # With the default of 20 a second it needs 5 s to give each controller its account.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            *extra,
        ]

    def scheduler(self, *extra: str) -> list[str]:
        """Bind pods to nodes."""
        return [
            program("kube-scheduler"),
            f"--kubeconfig={self.credentials / 'kube-scheduler.kubeconfig'}",
            f"--bind-address={self.loopback}",
            "--leader-elect=false",
            *extra,
        ]


def program(name: str) -> str:
    """The path of one of the programs of Kubernetes."""
    return str(programs.KUBERNETES.directory / name)
