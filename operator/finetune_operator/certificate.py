"""The certificate of a TLS port: a folder with tls.crt and tls.key, as of a mounted Secret."""

import asyncio
import logging
import ssl
from pathlib import Path

FOLLOW_SECONDS = 5
log = logging.getLogger(__name__)


class UnusableCertificate(Exception):
    """The files are missing, or are no certificate and its key."""


class Certificate:
    """The certificate, and the TLS context of a server that uses it."""

    def __init__(self, folder: Path) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._files = (folder / "tls.crt", folder / "tls.key")
        self._content: tuple[bytes, ...] = ()
        self.reload()

    async def follow(self) -> None:
        """Use a renewed certificate for each connection that comes after it; run for ever."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                self.reload()
            except UnusableCertificate as error:
                log.warning("%s; the earlier one stays", error)

    def reload(self) -> None:
        """Load the files if they have changed."""
        try:
            content = tuple(file.read_bytes() for file in self._files)
            if content != self._content:
                self._content = content
                self.context.load_cert_chain(*self._files)
        except OSError as error:
            folder = self._files[0].parent
            raise UnusableCertificate(f"tls.crt and tls.key in {folder}: {error}") from error
