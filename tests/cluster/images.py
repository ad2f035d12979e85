"""Puts images into the nodes' containerd: archives from disk, and two tiny ones made here."""

import hashlib
import io
import json
import subprocess
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.layout import STATE, Node

_MEDIA = "application/vnd.oci.image"


@dataclass(frozen=True)
class TinyImage:
    """An image of one static program of this machine, and of links to it."""

    name: str
    program: Path
    entrypoint: tuple[str, ...]
    has_applets: bool = False


# What every pod's sandbox runs: it waits and reaps, which is all a pause does.
PAUSE = TinyImage("localhost/pause:1", Path("/usr/bin/catatonit"), ("/bin/catatonit", "-P"))
# For pods of tests that want a shell and nothing else.
BUSYBOX = TinyImage("localhost/busybox:1", Path("/bin/busybox"), ("/bin/sh",), has_applets=True)


def load(node: Node, archive: Path) -> None:
    """Import an OCI or Docker archive under the name it carries."""
    _ctr(node, "images", "import", str(archive))


def tag(node: Node, name: str, new_name: str) -> None:
    """Give an image of the node another name, as if it had been pulled under that."""
    _ctr(node, "images", "tag", "--force", name, new_name)


def load_own(node: Node) -> None:
    """Import the tiny images that are not there yet."""
    present = _ctr(node, "images", "list", "--quiet").split()
    for image in (PAUSE, BUSYBOX):
        if image.name not in present:
            archive = STATE / f"{image.program.name}.tar"
            archive.write_bytes(_oci_archive(image))
            load(node, archive)


def wait_for_containerd(node: Node) -> None:
    """Wait until containerd answers."""
    deadline = time.monotonic() + 30
    while True:
        try:
            _ctr(node, "version")
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _ctr(node: Node, *arguments: str) -> str:
    socket = str(node.containerd_socket)
    command = ["ctr", "--address", socket, "--namespace", "k8s.io", *arguments]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout


def _oci_archive(image: TinyImage) -> bytes:
    layer = _layer(image)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": image.entrypoint, "Env": ["PATH=/bin"], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}"]},
    }
    blobs: dict[str, bytes] = {}
    manifest = {
        "schemaVersion": 2,
        "config": _add(blobs, f"{_MEDIA}.config.v1+json", json.dumps(config).encode()),
        "layers": [_add(blobs, f"{_MEDIA}.layer.v1.tar", layer)],
    }
    descriptor = _add(blobs, f"{_MEDIA}.manifest.v1+json", json.dumps(manifest).encode())
    annotations = {"io.containerd.image.name": image.name}
    index = {"schemaVersion": 2, "manifests": [descriptor | {"annotations": annotations}]}
    blobs["oci-layout"] = json.dumps({"imageLayoutVersion": "1.0.0"}).encode()
    blobs["index.json"] = json.dumps(index).encode()
    return _tar([(tarfile.TarInfo(name), content) for name, content in blobs.items()])


def _layer(image: TinyImage) -> bytes:
    program = tarfile.TarInfo(f"bin/{image.program.name}")
    program.mode = 0o755
    temporary = tarfile.TarInfo("tmp")
    temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
    members = [(temporary, b""), (program, image.program.read_bytes())]
    applets = []
    if image.has_applets:
        listing = subprocess.run([image.program, "--list"], check=True, stdout=subprocess.PIPE)
        applets = listing.stdout.decode().split()
    for applet in applets:
        if applet != image.program.name:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, image.program.name
            members.append((link, b""))
    return _tar(members)


def _add(blobs: dict[str, bytes], media_type: str, content: bytes) -> dict[str, object]:
    digest = _digest(content)
    blobs[f"blobs/sha256/{digest}"] = content
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tar(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
