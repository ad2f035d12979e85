"""Photos from S3 and HTTPS with credentials from a Secret, on the real node."""

from collections.abc import Iterator

import pytest
import yaml

from tests.cluster.layout import NODES
from tests.e2e import photos
from tests.e2e.conftest import SAMPLES
from tests.servers import s3
from tests.servers.s3 import S3
from tests.world import Object, World


@pytest.fixture(scope="module")
def server(namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 server on the node's address, which pods reach."""
    directory = tmp_path_factory.mktemp("s3")
    photos.write_small(directory / "photos")
    with s3.serve(directory / "buckets", address=NODES[0].address) as server:
        server.upload(directory / "photos", "s3://photos/flowers")
        yield server


def apply(world: World, secret: dict[str, str], **spec: object) -> None:
    """Apply the sample with another content of its Secret and parts of its spec."""
    manifests: list[Object] = list(yaml.safe_load_all((SAMPLES / "s3.yaml").read_text()))
    manifests[0]["stringData"] = secret
    manifests[1]["spec"] |= spec
    applied = world.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(manifests))
    assert applied.returncode == 0, applied.stderr


def test_the_sample_trains_on_photos_from_a_bucket(world: World, server: S3) -> None:
    apply(world, server.secret())
    status = world.wait_for_phase("Complete", "flowers", seconds=120)
    assert status["dataset"]["classes"] == 3
    assert "rejectedImages" not in status["dataset"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("secret", "uri", "reason"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://photos/flowers", "PermissionDenied"),
        ({}, "s3://nowhere/flowers", "InputNotFound"),
        ({}, "s3://photos/nothing", "InputNotFound"),
    ],
)
def test_what_cannot_work_is_told_and_not_tried_again(
    world: World, server: S3, secret: dict[str, str], uri: str, reason: str
) -> None:
    source = {"uri": uri, "secretRef": {"name": "bucket"}}
    apply(world, server.secret(**secret), dataset={"source": source})
    status = world.wait_for_phase("Failed", "flowers", seconds=60)
    failure = status["failure"]
    assert failure["reason"] == reason
    assert "dataset.source" in failure["message"]
    assert failure["hint"]
    assert s3.SECRET not in str(status)
    assert status["attempts"] == 1
