"""Certificates, tokens and kubeconfigs of one control plane, made with the openssl command.

Clients sign in with static tokens: one certificate less to make for each, and tests can use them
through a proxy of their own. Not for anything but tests.
"""

import csv
import json
import secrets
import subprocess
from pathlib import Path

NODE_NAMES = ("node-1", "node-2")
# kubeconfig name -> (Kubernetes user, group)
USERS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "coredns": ("system:coredns", "system:masters"),
} | {name: (f"system:node:{name}", "system:nodes") for name in NODE_NAMES}

_OPENSSL_CONFIG = "[req]\ndistinguished_name = name\n[name]\n"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def write(directory: Path, *, server: str, addresses: tuple[str, ...]) -> None:
    """Fill `directory` unless an earlier run has; the apiserver is known by `addresses`."""
    if (directory / "admin.kubeconfig").exists():
        return
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    (directory / "openssl.cnf").write_text(_OPENSSL_CONFIG)
    _request(directory, "ca", "/CN=finetune-test", "basicConstraints=critical,CA:TRUE")
    names = "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
    alternatives = ",".join([names, *(f"IP:{address}" for address in addresses)])
    _issue(directory, "apiserver", "/CN=kube-apiserver", f"subjectAltName={alternatives}")
    kubelet_client = "/O=system:masters/CN=kube-apiserver-kubelet-client"
    _issue(directory, "kubelet-client", kubelet_client, "extendedKeyUsage=clientAuth")
    _write_service_account_key(directory)
    tokens = {name: secrets.token_urlsafe(24) for name in USERS}
    _write_tokens(directory, tokens)
    # The administrator's comes last: its presence says that all of them are whole.
    for name in reversed(USERS):
        _write_kubeconfig(directory, name, token=tokens[name], server=server)


def kubeconfig(
    server: str, token: str, *, user: str = "operator", authority: Path | None = None
) -> dict[str, object]:
    """A kubeconfig for one user; without an authority for a server that speaks plain HTTP."""
    cluster = {"server": server}
    if authority:
        cluster["certificate-authority"] = str(authority)
    context = {"cluster": "finetune", "user": user, "namespace": "default"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "finetune", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "finetune", "context": context}],
        "current-context": "finetune",
    }


def token(directory: Path, name: str = "admin") -> str:
    """The bearer token of one of USERS."""
    with (directory / "tokens.csv").open() as file:
        return next(row[0] for row in csv.reader(file) if row[2] == name)


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def _request(directory: Path, name: str, subject: str, extension: str, *signer: str) -> None:
    files = ("-keyout", f"{name}.key", "-out", f"{name}.crt")
    options = ("-x509", "-config", "openssl.cnf", "-days", "3650", "-subj", subject)
    _openssl(directory, "req", *options, "-addext", extension, *_NEW_KEY, *files, *signer)


def _issue(directory: Path, name: str, subject: str, extension: str) -> None:
    _request(directory, name, subject, extension, "-CA", "ca.crt", "-CAkey", "ca.key")


def _write_service_account_key(directory: Path) -> None:
    key = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    _openssl(directory, "genpkey", *key, "-out", "service-account.key")
    _openssl(
        directory, "pkey", "-in", "service-account.key", "-pubout", "-out", "service-account.pub"
    )


def _write_tokens(directory: Path, tokens: dict[str, str]) -> None:
    with (directory / "tokens.csv").open("w") as file:
        writer = csv.writer(file)
        for name, (user, group) in USERS.items():
            writer.writerow([tokens[name], user, name, group])


def _write_kubeconfig(directory: Path, name: str, *, token: str, server: str) -> None:
    config = kubeconfig(server, token, user=name, authority=directory / "ca.crt")
    path = directory / f"{name}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=2))
