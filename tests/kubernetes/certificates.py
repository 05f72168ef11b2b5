"""Certificates by which users show who they are, valid for as few seconds as a test likes."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

_CA = """\
[ca]
default_ca = ours
[ours]
database = {folder}/signed
new_certs_dir = {folder}
serial = {folder}/serial
unique_subject = no
default_md = sha256
policy = any
x509_extensions = client
[any]
commonName = supplied
[client]
extendedKeyUsage = clientAuth
"""
"""``openssl ca`` alone signs for less than a day."""


def certificate(authority: Path, user: str, until: datetime, folder: Path) -> bytes:
    """A certificate of that user, signed by that authority, and its key (PEM). ``folder`` is for what openssl leaves."""
    folder.mkdir(exist_ok=True)
    (folder / "signed").touch()
    (folder / "ca.cnf").write_text(_CA.format(folder=folder))
    _openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={user}", "-keyout", folder / "key", "-out", folder / "request")
    by = ("-config", folder / "ca.cnf", "-cert", authority, "-keyfile", authority.with_suffix(".key"))
    valid = ("-enddate", until.astimezone(UTC).strftime("%Y%m%d%H%M%SZ"))
    _openssl("ca", "-batch", "-notext", "-rand_serial", *by, "-in", folder / "request", "-out", folder / "made", *valid)
    return (folder / "made").read_bytes() + (folder / "key").read_bytes()


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
