"""A few lines of HTTP for talking to a kube-apiserver: no client library, no cache, no retries."""

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.cluster import credentials

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


class ApiError(Exception):
    """The apiserver's refusal, with its status code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Api:
    """The API of one kube-apiserver, as the administrator."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self._token = credentials.token(directory)
        tls = ssl.create_default_context(cafile=str(directory / "ca.crt"))
        # The apiserver is on this machine: a proxy from the environment is not for it.
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls))
        self._opener = urllib.request.build_opener(*handlers)

    def request(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json"
    ) -> Any:
        """Send one request; ApiError if it is refused, OSError if nobody answers."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with self._opener.open(request, timeout=10) as response:
                content = response.read()
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, error.read().decode(errors="replace")) from None
        return json.loads(content) if content.startswith(b"{") else content.decode()

    def get(self, path: str) -> Any:
        """Read one object or list."""
        return self.request("GET", path)

    def exists(self, path: str) -> bool:
        """Whether there is such an object."""
        try:
            self.get(path)
        except ApiError as error:
            if error.code != 404:
                raise
            return False
        return True

    def apply(self, path: str, body: dict[str, Any]) -> Any:
        """Create or change one object by server-side apply."""
        return self.request("PATCH", f"{path}?fieldManager=cluster&force=true", body, kind=APPLY)

    def merge(self, path: str, body: dict[str, Any]) -> Any:
        """Change one object by a merge patch."""
        return self.request("PATCH", path, body, kind=MERGE)

    def is_ready(self) -> bool:
        """Whether the apiserver answers and says it is ready."""
        try:
            return bool(self.get("/readyz") == "ok")
        except (ApiError, OSError):
            return False
