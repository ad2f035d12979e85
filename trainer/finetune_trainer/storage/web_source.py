"""The schemes https and http: archives on a web server, with retries and resumed downloads."""

import base64
import contextlib
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

from finetune_trainer.contract import ExitCode, Source, TrainerError
from finetune_trainer.run.context import Run
from finetune_trainer.storage.archive import Obtained, Put, unpacked_once
from finetune_trainer.storage.volume_source import check_sha256

PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""Seconds between tries; a try that gets further than all before it starts with the first again."""
TIMEOUT_SECONDS = 60
CHUNK = 1 << 20
_AS_IT_IS = "%/:=&?~#+!$,;'@()*[]"
"""Characters of a URI that stay; spaces and letters beyond ASCII are escaped."""
TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Status codes of failures that may pass."""


class Retryable(Exception):
    """A failure of the network or the server that another try may not meet."""


def obtain(source: Source, *, field: str, secret: str, run: Run, put: Put | None) -> Obtained:
    """Return the folder of an archive on a web server, downloaded if it was not before."""
    _check_uri(source, field)
    credentials = authorization(secret, os.environ, field=field)
    server = Server(source.uri, field=field, authorization=credentials)
    # Without a digest only the server's ETag shows that an archive was replaced.
    identity = source.sha256 or server.version() or run.job.uid

    def provide(temporary: Path) -> Path:
        archive = temporary / "archive"
        server.download(archive, run=run)
        if source.sha256:
            check_sha256(archive, expected=source.sha256, shown=server.shown, field=field)
        return archive

    return unpacked_once(f"{source.uri}:{identity}", provide, field=field, run=run, put=put)


def find_file(uri: str, *, field: str, secret: str, run: Run) -> None:
    """Return None: a web server gives archives, not the files of a folder."""


def _check_uri(source: Source, field: str) -> None:
    try:
        address = urlsplit(source.uri)
    except ValueError as error:
        raise TrainerError(
            ExitCode.InvalidSpec, f"{field}.uri: {error}", "Check the URI."
        ) from error
    if address.scheme == "http" and not source.sha256:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"{field}.uri is http://, which anyone on the way can change",
            f"Use https://, or set {field}.sha256.",
        )
    if not address.hostname or address.username is not None:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"{field}.uri must be https://HOST/PATH without a user name or password",
            f"Put USERNAME and PASSWORD, or TOKEN, into a Secret and name it in {field}.secretRef.",
        )


def authorization(prefix: str, environment: Mapping[str, str], *, field: str) -> str | None:
    """Return the Authorization header for the credentials in the environment, if there are any.

    Raises InvalidSpec for a token that no header can hold; the message does not show the token.
    """
    if token := environment.get(f"{prefix}TOKEN", "").strip():
        if not (token.isascii() and token.isprintable()):
            raise TrainerError(
                ExitCode.InvalidSpec,
                f"{field}.secretRef: TOKEN has a line break or another character that no token has",
                "Put the token alone into the Secret.",
            )
        return f"Bearer {token}"
    if user := environment.get(f"{prefix}USERNAME"):
        pair = f"{user}:{environment.get(f'{prefix}PASSWORD', '')}"
        return "Basic " + base64.b64encode(pair.encode()).decode()
    return None


class Retries:
    """Counts failures in a row; a failure after new progress counts as the first."""

    def __init__(self, field: str, failed: Callable[[ExitCode, str, str], TrainerError]) -> None:
        self._field = field
        self._failed = failed
        self._failures = self._furthest = 0

    def pause(self, failure: Retryable, *, reached: int = 0) -> float:
        """Return the seconds until the next try; raise TemporaryFailure if there were too many."""
        if reached > self._furthest:
            self._failures, self._furthest = 0, reached
        if self._failures >= len(PAUSES_SECONDS):
            raise self._failed(
                ExitCode.TemporaryFailure, str(failure), "The next attempt tries again."
            ) from failure
        print(f"{self._field}: {failure}; trying again", flush=True)
        self._failures += 1
        return PAUSES_SECONDS[self._failures - 1]


class Server:
    """One file on a web server."""

    def __init__(self, uri: str, *, field: str, authorization: str | None = None) -> None:
        self.shown = uri.partition("?")[0]  # a signed URL's query is a secret
        self._uri = quote(uri, safe=_AS_IT_IS)
        self._field = field
        self._authorization = authorization
        self._opener = urllib.request.build_opener(_Redirects)
        self._validator: str | None = None

    def version(self) -> str:
        """Return the ETag (or date) and length of the file as it is now; "" without them."""
        retries = Retries(self._field, self._failed)
        while True:
            try:
                with self._open() as response:
                    return _version(response.headers)
            except Retryable as failure:
                time.sleep(retries.pause(failure))

    def download(self, target: Path, *, run: Run) -> None:
        """Write the file to `target`; resume after a failure where the server can."""
        retries = Retries(self._field, self._failed)
        with open(target, "wb") as file:
            while True:
                try:
                    return self._receive(file, run)
                except Retryable as failure:
                    time.sleep(retries.pause(failure, reached=file.tell()))

    def _receive(self, file: IO[bytes], run: Run) -> None:
        with self._open(offset=file.tell()) as response:
            if response.status != http.client.PARTIAL_CONTENT:
                file.seek(0)
                file.truncate()
            self._validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
            expected = _length(response.headers)
            end = None if expected is None else file.tell() + expected
            while chunk := self._read(response):
                file.write(chunk)
                run.reporter.progress(
                    step=file.tell() // CHUNK,
                    fraction=file.tell() / end if end else None,
                    note=f"downloaded {file.tell() // CHUNK} MiB",
                )
            # http.client takes a lost connection for the end: only the length shows it.
            if end is not None and file.tell() != end:
                raise Retryable(f"the connection ended after {file.tell()} of {end} bytes")

    def _read(self, response: Any) -> bytes:
        with self._explained():
            chunk: bytes = response.read(CHUNK)
            return chunk

    def _open(self, offset: int = 0) -> Any:
        request = urllib.request.Request(self._uri, headers={"User-Agent": "finetune-trainer"})
        if offset and self._validator:
            request.add_header("Range", f"bytes={offset}-")
            request.add_header("If-Range", self._validator)
        if self._authorization:
            # Unredirected: a redirect must not carry the user's token to another server.
            request.add_unredirected_header("Authorization", self._authorization)
        with self._explained():
            return self._opener.open(request, timeout=TIMEOUT_SECONDS)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except urllib.error.HTTPError as error:
            error.close()
            raise self._refusal(error.code, str(error.reason)) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise self._failed(
                    ExitCode.InvalidSpec,
                    f"its certificate is not trusted: {error.reason.verify_message}",
                    "For an authority of your own, name its file in SSL_CERT_FILE in trainer.env.",
                ) from error
            raise Retryable(str(error.reason)) from error
        except (http.client.InvalidURL, UnicodeError) as error:
            raise self._failed(ExitCode.InvalidSpec, str(error), "Check the URI.") from error
        except (OSError, http.client.HTTPException) as error:
            raise Retryable(str(error) or type(error).__name__) from error

    def _refusal(self, code: int, reason: str) -> Exception:
        what = f"the server answers {code} {reason}".rstrip()
        if code in TEMPORARY:
            return Retryable(what)
        if code in (401, 403):
            return self._denied(what)
        if code in (404, 410):
            return self._failed(ExitCode.InputNotFound, what, "Check the URI.")
        return self._failed(ExitCode.InvalidSpec, what, "Check the URI.")

    def _denied(self, what: str) -> TrainerError:
        secret = f"{self._field}.secretRef"
        sent = "no credentials"
        hint = f"Name a Secret with TOKEN, or USERNAME and PASSWORD, in {secret}."
        if self._authorization:
            sent = "the credentials of the Secret"
            hint = (
                f"Check the Secret that {secret} names: its credentials must be valid for this URI."
            )
        return self._failed(ExitCode.PermissionDenied, f"{what}; {sent} were sent", hint)

    def _failed(self, code: ExitCode, what: str, hint: str) -> TrainerError:
        return TrainerError(code, f"{self._field}: {self.shown}: {what}", hint)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.HTTPError(newurl, 400, "redirects to http://", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _version(headers: Message) -> str:
    validator = headers.get("ETag") or headers.get("Last-Modified")
    return f"{validator}:{headers.get('Content-Length')}" if validator else ""


def _length(headers: Message) -> int | None:
    length = headers.get("Content-Length")
    return int(length) if length and length.isdigit() else None
