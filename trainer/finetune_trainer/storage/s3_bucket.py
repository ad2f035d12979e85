"""One S3 bucket: credentials from a Secret, retries, resumed reads, errors that name a remedy."""

import asyncio
import hashlib
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import fsspec.asyn
import s3fs
from botocore import exceptions as boto

from finetune_trainer.contract import ExitCode, Struct, TrainerError
from finetune_trainer.storage.web_source import (
    CHUNK,
    TEMPORARY,
    TIMEOUT_SECONDS,
    Retries,
    Retryable,
)

_DENIED = frozenset(
    {
        "AccessDenied",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "XAdminUserNotFound",  # versitygw: no such key
    }
)
_FULL = frozenset({"QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"})
_PASSING = frozenset({"BadDigest", "OperationAborted", "RequestTimeout", "SlowDown"})
"""Codes of failures that may pass, whatever their HTTP status."""
_NETWORK = (boto.ConnectionError, boto.HTTPClientError, aiohttp.ClientError, OSError)


class S3Object(Struct):
    """One object of a listing."""

    key: str
    size: int
    etag: str
    modified: datetime


class Bucket:
    """A bucket, read with the credentials in the environment variables of a prefix."""

    allowed: ClassVar[str] = "list and read"
    """The permissions that the credentials need, for messages."""
    missing: ClassVar[ExitCode] = ExitCode.InputNotFound
    """The exit code if the bucket, or an object in it, does not exist."""

    def __init__(
        self, name: str, *, field: str, prefix: str, environment: Mapping[str, str]
    ) -> None:
        self.field = field
        self.name = name

        def secret(key: str) -> str | None:
            return environment.get(f"{prefix}AWS_{key}", "").strip() or None

        self._key = secret("ACCESS_KEY_ID")
        self._endpoint = secret("ENDPOINT_URL")
        config: dict[str, Any] = {
            # Retries are counted here only, not in botocore too.
            "retries": {"total_max_attempts": 1},
            "connect_timeout": TIMEOUT_SECONDS,
            "read_timeout": TIMEOUT_SECONDS,
            "max_pool_connections": 32,
            # Uploads carry an MD5, which every server checks; not all servers know newer checksums.
            "request_checksum_calculation": "when_required",
        }
        if self._endpoint:
            # A server of one's own rarely has a DNS name for each bucket.
            config["s3"] = {"addressing_style": "path"}
        self.fs = s3fs.S3FileSystem(
            key=self._key,
            secret=secret("SECRET_ACCESS_KEY"),
            token=secret("SESSION_TOKEN"),
            anon=self._key is None,
            endpoint_url=self._endpoint,
            client_kwargs={
                "region_name": secret("REGION") or "us-east-1",
                "verify": os.environ.get("SSL_CERT_FILE"),
            },
            config_kwargs=config,
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        self.fs.retries = 1

    def find(self, key: str) -> S3Object | None:
        """Return the object with exactly this key, if there is one."""
        return next((item for item in self.list(key, most=1) if item.key == key), None)

    def list(self, prefix: str, *, most: int | None = None) -> tuple[S3Object, ...]:
        """Return the objects whose keys begin with the prefix; at most the first `most`."""
        return fsspec.asyn.sync(self.fs.loop, self._list, prefix, most)  # type: ignore[no-any-return]

    async def _list(self, prefix: str, most: int | None) -> tuple[S3Object, ...]:
        items: tuple[S3Object, ...] = ()
        request: dict[str, Any] = {"Prefix": prefix}
        if most:
            request["MaxKeys"] = most
        while True:
            page = await self.call("list_objects_v2", **request)
            items += tuple(
                S3Object(key=o["Key"], size=o["Size"], etag=o["ETag"], modified=o["LastModified"])
                for o in page.get("Contents", ())
            )
            if most or not page.get("IsTruncated"):
                return items
            request["ContinuationToken"] = page["NextContinuationToken"]

    async def download(
        self, item: S3Object, target: Path, *, received: Callable[[int], Any]
    ) -> None:
        """Write the object to `target`, with its time; resume after a failure.

        The file appears whole: a process that is restarted downloads it from the start.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{hashlib.sha256(item.key.encode()).hexdigest()}.part")
        retries = Retries(self.field, self.failed)
        with open(temporary, "wb") as file:  # noqa: ASYNC230 - writes do not wait for the disk
            while file.tell() < item.size:
                try:
                    async for chunk in self._receive(item, offset=file.tell()):
                        file.write(chunk)
                        received(len(chunk))
                    if file.tell() < item.size:
                        raise Retryable(f"the connection ended after {file.tell()} bytes")
                except Retryable as failure:
                    await asyncio.sleep(retries.pause(failure, reached=file.tell()))
        if temporary.stat().st_size != item.size:
            raise self.failed(
                ExitCode.TemporaryFailure, f"{item.key!r} has another size than listed"
            )
        modified = item.modified.timestamp()
        os.utime(temporary, (modified, modified))
        temporary.rename(target)

    async def _receive(self, item: S3Object, *, offset: int) -> AsyncIterator[bytes]:
        request = {"Bucket": self.name, "Key": item.key, "IfMatch": item.etag}
        if offset:
            request["Range"] = f"bytes={offset}-"
        try:
            answer = await self.fs._call_s3("get_object", **request)
            async with answer["Body"] as body:
                while chunk := await body.read(CHUNK):
                    yield chunk
        except Exception as error:
            raise self._explained(error) from error

    async def call(self, operation: str, **request: Any) -> Any:
        """Return the answer to a request; send it again while the failure may pass."""
        retries = Retries(self.field, self.failed)
        while True:
            try:
                return await self.fs._call_s3(operation, Bucket=self.name, **request)
            except Exception as error:
                explained = self._explained(error)
                if not isinstance(explained, Retryable):
                    raise explained from error
                await asyncio.sleep(retries.pause(explained))

    def failed(
        self, code: ExitCode, what: str, hint: str = "The next attempt tries again."
    ) -> TrainerError:
        """Return an error whose message begins with the field and the bucket."""
        return TrainerError(code, f"{self.field}: s3://{self.name}: {what}", hint)

    def _explained(self, error: BaseException) -> BaseException:
        """Return the error to raise: Retryable if another try may help."""
        if isinstance(error, (TrainerError, Retryable)):
            return error
        # s3fs turns botocore's errors into Python's own, and keeps them as the cause.
        cause = error.__cause__
        if isinstance(cause, (boto.BotoCoreError, boto.ClientError)):
            error = cause
        if isinstance(error, boto.ClientError):
            return self._refusal(error)
        if isinstance(error, (boto.SSLError, ssl.SSLError)):
            return self.failed(
                ExitCode.InvalidSpec,
                "the certificate of the server is not trusted",
                "For an authority of your own, name its file in SSL_CERT_FILE in trainer.env.",
            )
        if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError)):
            return self._denied("the Secret has only a part of the credentials")
        if isinstance(error, _NETWORK):
            where = self._endpoint or "the server"
            return Retryable(f"{where} cannot be reached ({type(error).__name__})")
        if isinstance(error, (boto.BotoCoreError, ValueError)):
            return self.failed(
                ExitCode.InvalidSpec,
                f"the bucket or AWS_ENDPOINT_URL is not valid ({type(error).__name__})",
                "Check the URI and AWS_ENDPOINT_URL, such as https://s3.example.com.",
            )
        return error

    def _refusal(self, error: boto.ClientError) -> BaseException:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        what = f"the server answers {status} {code}"
        if code in _FULL or status == 507:
            return self.failed(
                ExitCode.InputOutputError, f"{what}: it is full", "Make room, or raise the quota."
            )
        if code in _PASSING or status in TEMPORARY:
            return Retryable(what)
        if code in _DENIED or status in (401, 403):
            return self._denied(what)
        if code == "NoSuchBucket":
            return self.failed(self.missing, "there is no such bucket", "Check the URI.")
        if status == 412 or code == "NoSuchUpload":
            return self.failed(ExitCode.TemporaryFailure, "an object was changed by others")
        if status == 404:
            return self.failed(self.missing, what, "Check the URI.")
        return self.failed(
            ExitCode.InvalidSpec, what, "Check AWS_REGION and AWS_ENDPOINT_URL in the Secret."
        )

    def _denied(self, what: str) -> TrainerError:
        sent = "the credentials of the Secret" if self._key else "no credentials"
        return self.failed(
            ExitCode.PermissionDenied,
            f"{what}; {sent} were sent",
            "Name a Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY that may"
            f" {self.allowed} the bucket in {self.field}.secretRef.",
        )
