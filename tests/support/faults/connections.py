"""Connections to a kube-apiserver."""

import ssl
from pathlib import Path

import aiohttp


def connector(certificate_authority: Path) -> aiohttp.TCPConnector:
    """Return what makes as many as are asked for, and lets none outlive the event loop to wait for
    its peer to take leave.
    """
    tls = ssl.create_default_context(cafile=str(certificate_authority))
    return aiohttp.TCPConnector(limit=0, ssl=tls, enable_cleanup_closed=True)
