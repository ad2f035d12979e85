"""Certificates of the loopback address, in a folder as of a mounted Secret."""

import subprocess
from pathlib import Path

COMMAND = (
    *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
    *("-subj", "/CN=metrics", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"),
)


def write_certificate(folder: Path) -> str:
    """Replace the certificate, and return it as text: it is its own authority."""
    names = ("-keyout", "tls.key", "-out", "tls.crt")
    subprocess.run([*COMMAND, *names], cwd=folder, check=True, capture_output=True)
    return (folder / "tls.crt").read_text()
