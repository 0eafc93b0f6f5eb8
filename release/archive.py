"""Archives whose bytes depend on their content alone: sorted names, one timestamp, no owner."""

import gzip
import io
import tarfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

from release.places import timestamp


def write_zip(path: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Writes files, each by its name with its bytes and its mode."""
    at = time.gmtime(timestamp())[:6]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            data, mode = files[name]
            entry = zipfile.ZipInfo(name, at)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, data)


def write_tar_gz(path: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Writes files, each by its name with its bytes and its mode."""
    at = timestamp()
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=at) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name in sorted(files):
            data, mode = files[name]
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(data), mode, at
            archive.addfile(entry, io.BytesIO(data))
