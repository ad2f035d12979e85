"""Models in an S3 bucket. Each object appears whole; a folder with a manifest is a model."""

import base64
import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec.asyn

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.storage.s3_bucket import Bucket

PART_BYTES = 8 << 20
"""The size of the parts of an upload: sent again after a failure. S3 takes no less than 5 MiB."""


class S3Output:
    """The folder with a job's name in a bucket; see outputs.Place."""

    def __init__(self, uri: str, run: Run) -> None:
        self.model_uri = f"{uri}/{run.job.name}/{run.job.uid}"
        name, _, prefix = uri.removeprefix("s3://").partition("/")
        self._bucket = WritableBucket(
            name, field="output", prefix="OUTPUT_", environment=os.environ
        )
        self._folder = "/".join(filter(None, (prefix.strip("/"), run.job.name)))
        self._model = f"{self._folder}/{run.job.uid}"
        self._staging = run.paths.job / ".export.tmp"
        self._run = run

    def check(self) -> None:
        """Raise if the place cannot be written to; leave nothing there."""
        self._bucket.check(f"{self._model}/check")

    @contextlib.contextmanager
    def whole_model(self, *, last: str) -> Iterator[Path]:
        """Give a directory whose files are uploaded when the block ends.

        A model that is there already loses its manifest first: it is none until all are uploaded.
        """
        with files.scratch_directory(self._staging) as staged:
            yield staged
            self._run.check_owner()
            self._bucket.remove(f"{self._model}/{last}")
            self._upload(sorted(staged.iterdir(), key=lambda path: (path.name == last, path.name)))

    def write_json(self, name: str, value: object) -> None:
        """Write a file beside the models, whole."""
        with files.scratch_directory(self._staging) as staged:
            files.write_json(staged / name, value)
            self._run.check_owner()
            self._bucket.upload(staged / name, f"{self._folder}/{name}", sent=lambda count: None)

    def _upload(self, paths: list[Path]) -> None:
        size = sum(path.stat().st_size for path in paths)
        done = parts = 0

        def sent(count: int) -> None:
            nonlocal done, parts
            self._run.check_owner()
            done, parts = done + count, parts + 1
            note = f"uploaded {done >> 20} of {size >> 20} MiB"
            self._run.reporter.progress(step=parts, fraction=done / size, note=note)

        for path in paths:
            self._run.check_owner()
            self._bucket.upload(path, f"{self._model}/{path.name}", sent=sent)


class WritableBucket(Bucket):
    """A bucket with the requests that write to it."""

    allowed: ClassVar[str] = "list, write and delete objects of"
    missing: ClassVar[ExitCode] = ExitCode.OutputNotWritable

    def check(self, key: str) -> None:
        """Raise unless this key can be read and written: begin an upload and abort it."""
        self.find(key)
        self._do("abort_multipart_upload", **self._begin(key))

    def remove(self, key: str) -> None:
        """Delete an object, if there is one."""
        if self.find(key):
            self._do("delete_object", Key=key)

    def upload(self, path: Path, key: str, *, sent: Callable[[int], None]) -> None:
        """Upload a file; `sent` is called with the bytes of each part that has arrived.

        If a connection breaks, only the part that was on its way is sent again.
        """
        if path.stat().st_size > PART_BYTES:
            return self._upload_parts(path, key, sent)
        content = path.read_bytes()
        self._do("put_object", Key=key, Body=content, ContentMD5=_md5(content))
        sent(len(content))

    def _upload_parts(self, path: Path, key: str, sent: Callable[[int], None]) -> None:
        upload = self._begin(key)
        parts: list[dict[str, Any]] = []
        try:
            with open(path, "rb") as file:
                while content := file.read(PART_BYTES):
                    part = {"PartNumber": len(parts) + 1}
                    request = upload | part | {"Body": content, "ContentMD5": _md5(content)}
                    parts.append(part | {"ETag": self._do("upload_part", **request)["ETag"]})
                    sent(len(content))
            self._do("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})
        except TrainerError:
            with contextlib.suppress(TrainerError):  # the first error counts
                self._do("abort_multipart_upload", **upload)
            raise

    def _begin(self, key: str) -> dict[str, Any]:
        begun = self._do("create_multipart_upload", Key=key)
        return {"Key": key, "UploadId": begun["UploadId"]}

    def _do(self, operation: str, **request: Any) -> Any:
        return fsspec.asyn.sync(self.fs.loop, lambda: self.call(operation, **request))


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
