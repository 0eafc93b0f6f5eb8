"""Lakes for the sections drain and compactors: in a folder, or in a simulated bucket. Both store files."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.bucket import S3_MS, SHARED, Bucket
from bench.load import empty_folder

KINDS = ("folder", "bucket")


@dataclass
class Lake:
    """A lake, with more landing areas that share its tables."""

    root: Path
    bucket: Bucket | None

    @property
    def folder(self) -> Path:
        """The folder with its files."""
        return self.root / SHARED

    def settings(self, name: str = SHARED) -> dict[str, str]:
        """Environment variables with the address of the lake, for the landing area `name`."""
        if self.bucket:
            return {"PINLAKE_LAKE": f"s3://{name}", "AWS_ENDPOINT_URL_S3": self.bucket.endpoint}
        return {"PINLAKE_LAKE": str(self.root / name)}

    def add_landing_area(self, name: str) -> str:
        """Adds a landing area that shares everything else, and returns its name."""
        if not self.bucket:
            (self.root / name).mkdir()
            for part in ("tables", "contracts"):
                (self.folder / part).mkdir(exist_ok=True)
                (self.root / name / part).symlink_to(self.folder / part)
        return name

    def put_landing_object(self, name: str, source: Path, file: Path) -> None:
        """Puts a landing object of another lake into the landing area `name`."""
        key = str(file.relative_to(source))
        if self.bucket:
            self.bucket.put(name, key, file.read_bytes())
            return
        target = self.root / name / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(file)

    @property
    def server_cpu_s(self) -> float:
        """CPU seconds of the simulated bucket; 0 for a folder."""
        return self.bucket.cpu_s if self.bucket else 0.0


@contextmanager
def open_lake(kind: str, root: Path, backlog: Path | None = None) -> Iterator[Lake]:
    """Opens an empty lake, or one with links to the landing objects of `backlog`. It is deleted at the end."""
    empty_folder(root)
    (root / SHARED).mkdir()
    if backlog:
        link_folder(backlog / "landing", root / SHARED / "landing")
    try:
        if kind == "folder":
            yield Lake(root, None)
        else:
            with Bucket(root, S3_MS) as bucket:
                yield Lake(root, bucket)
    finally:
        shutil.rmtree(root)


def link_folder(source: Path, target: Path) -> None:
    """Copies a folder by hard links. Landing objects are immutable, only deleted."""
    shutil.copytree(source, target, copy_function=lambda file, to: Path(to).hardlink_to(file))
