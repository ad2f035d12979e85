"""Archives on a web server: credentials, retries, resumed downloads, and what a failure means."""

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
"""Between tries; a try that gets further than any before starts over with the first pause."""
TIMEOUT_SECONDS = 60
CHUNK = 1 << 20
_AS_IT_IS = "%/:=&?~#+!$,;'@()*[]"
"""What a URI is made of; spaces and letters beyond ASCII must be escaped."""
TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})


class Cut(Exception):
    """The network or the server failed in a way that another try may not."""


def fetch_remote(
    source: Source, *, field: str, secret: str, run: Run, put: Put | None = None
) -> Obtained:
    """Return the folder of an archive on a web server, downloaded if it was not before."""
    _check_uri(source, field)
    credentials = authorization(secret, os.environ, field=field)
    server = Server(source.uri, field=field, authorization=credentials)
    # Without a digest the server's own mark of the version tells a replaced archive apart.
    identity = source.sha256 or server.version() or run.job.uid

    def provide(temporary: Path) -> Path:
        archive = temporary / "archive"
        server.download(archive, run=run)
        if source.sha256:
            check_sha256(archive, expected=source.sha256, shown=server.shown, field=field)
        return archive

    return unpacked_once(f"{source.uri}:{identity}", provide, field=field, run=run, put=put)


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
    Raises InvalidSpec for a token that no header can hold, without showing it.
    """
    if token := environment.get(f"{prefix}TOKEN", "").strip():
        if not (token.isascii() and token.isprintable()):
            raise TrainerError(
                ExitCode.InvalidSpec,
                f"{field}.secretRef: TOKEN has a line break or another character that is in no"
                " token",
                "Put the token alone into the Secret.",
            )
        return f"Bearer {token}"
    if user := environment.get(f"{prefix}USERNAME"):
        pair = f"{user}:{environment.get(f'{prefix}PASSWORD', '')}"
        return "Basic " + base64.b64encode(pair.encode()).decode()
    return None


class Tries:
    """Counts failures in a row; one that got further than any before is the first again."""

    def __init__(self, field: str, failed: Callable[[ExitCode, str, str], TrainerError]) -> None:
        self._field = field
        self._failed = failed
        self._failures = self._furthest = 0

    def pause(self, cut: Cut, *, reached: int = 0) -> float:
        """Return the seconds until the next try; raises TemporaryFailure when there is none."""
        if reached > self._furthest:
            self._failures, self._furthest = 0, reached
        if self._failures >= len(PAUSES_SECONDS):
            raise self._failed(
                ExitCode.TemporaryFailure, str(cut), "The next attempt tries again."
            ) from cut
        print(f"{self._field}: {cut}; trying again", flush=True)
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
        """Return the server's mark for this version of the file, or an empty string."""
        tries = Tries(self._field, self._failed)
        while True:
            try:
                with self._open() as response:
                    return _mark(response.headers)
            except Cut as cut:
                time.sleep(tries.pause(cut))

    def download(self, target: Path, *, run: Run) -> None:
        """Write the file to `target`, going on after a cut where the server can."""
        tries = Tries(self._field, self._failed)
        with open(target, "wb") as file:
            while True:
                try:
                    return self._receive(file, run)
                except Cut as cut:
                    time.sleep(tries.pause(cut, reached=file.tell()))

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
            # http.client takes an early end for the end; only the length tells.
            if end is not None and file.tell() != end:
                raise Cut(f"the connection ended after {file.tell()} of {end} bytes")

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
            # Unredirected: a server must not pass the user's token on to another one.
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
            raise Cut(str(error.reason)) from error
        except (http.client.InvalidURL, UnicodeError) as error:
            raise self._failed(ExitCode.InvalidSpec, str(error), "Check the URI.") from error
        except (OSError, http.client.HTTPException) as error:
            raise Cut(str(error) or type(error).__name__) from error

    def _refusal(self, code: int, reason: str) -> Exception:
        what = f"the server answers {code} {reason}".rstrip()
        if code in TEMPORARY:
            return Cut(what)
        if code in (401, 403):
            sent = "the credentials of the Secret" if self._authorization else "no credentials"
            return self._failed(
                ExitCode.PermissionDenied,
                f"{what}; {sent} were sent",
                f"Name a Secret with TOKEN, or USERNAME and PASSWORD, in {self._field}.secretRef.",
            )
        if code in (404, 410):
            return self._failed(ExitCode.InputNotFound, what, "Check the URI.")
        return self._failed(ExitCode.InvalidSpec, what, "Check the URI.")

    def _failed(self, code: ExitCode, what: str, hint: str) -> TrainerError:
        return TrainerError(code, f"{self._field}: {self.shown}: {what}", hint)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to something weaker."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.HTTPError(newurl, 400, "redirects to http://", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _mark(headers: Message) -> str:
    mark = headers.get("ETag") or headers.get("Last-Modified")
    return f"{mark}:{headers.get('Content-Length')}" if mark else ""


def _length(headers: Message) -> int | None:
    length = headers.get("Content-Length")
    return int(length) if length and length.isdigit() else None
