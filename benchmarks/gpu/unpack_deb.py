"""Unpacks a Debian package where there is no dpkg: python3 unpack_deb.py PACKAGE.deb FOLDER."""

import io
import sys
import tarfile
from pathlib import Path

AR_MAGIC = b"!<arch>\n"
AR_HEADER_BYTES = 60


def members(archive: bytes):
    """Yields (name, content) of an ar archive (man 5 deb, man 5 ar)."""
    if not archive.startswith(AR_MAGIC):
        raise SystemExit("not a Debian package")
    at = len(AR_MAGIC)
    while at < len(archive):
        header = archive[at : at + AR_HEADER_BYTES]
        name = header[:16].decode().strip().rstrip("/")
        size = int(header[48:58])
        at += AR_HEADER_BYTES
        yield name, archive[at : at + size]
        at += size + size % 2


def main() -> None:
    package, folder = Path(sys.argv[1]), Path(sys.argv[2])
    for name, content in members(package.read_bytes()):
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                tar.extractall(folder, filter="data")
            return
    raise SystemExit(f"{package}: no data.tar")


main()
