"""Where a section's lake lies: in a folder, or in a bucket that takes as long as S3. Both are files underneath."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.bucket import S3_MS, SHARED, Bucket
from bench.load import fresh

KINDS = ("folder", "bucket")


@dataclass
class Lake:
    """A lake, and landing areas of others who share its tables."""

    root: Path
    bucket: Bucket | None

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.root / SHARED

    def settings(self, name: str = SHARED) -> dict[str, str]:
        """What a function is told."""
        if self.bucket:
            return {"PINLAKE_LAKE": f"s3://{name}", "AWS_ENDPOINT_URL_S3": self.bucket.endpoint}
        return {"PINLAKE_LAKE": str(self.root / name)}

    def share(self, name: str) -> str:
        """A landing area of its own, and all else in common."""
        if not self.bucket:
            (self.root / name).mkdir()
            for part in ("tables", "contracts"):
                (self.folder / part).mkdir(exist_ok=True)
                (self.root / name / part).symlink_to(self.folder / part)
        return name

    def land(self, name: str, source: Path, file: Path) -> None:
        """Puts a landing object of another lake into a landing area."""
        key = str(file.relative_to(source))
        if self.bucket:
            self.bucket.put(name, key, file.read_bytes())
            return
        target = self.root / name / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(file)

    @property
    def server_cpu_s(self) -> float:
        """CPU seconds of the bucket."""
        return self.bucket.cpu_s if self.bucket else 0.0


@contextmanager
def opened(kind: str, root: Path, backlog: Path | None = None) -> Iterator[Lake]:
    """An empty lake, or one with another's landing area, whose objects are linked. It is removed in the end."""
    fresh(root)
    (root / SHARED).mkdir()
    if backlog:
        link(backlog / "landing", root / SHARED / "landing")
    try:
        if kind == "folder":
            yield Lake(root, None)
        else:
            with Bucket(root, S3_MS) as bucket:
                yield Lake(root, bucket)
    finally:
        shutil.rmtree(root)


def link(source: Path, target: Path) -> None:
    """A copy of a folder by hard links: landing objects are never changed, only removed."""
    shutil.copytree(source, target, copy_function=lambda file, to: Path(to).hardlink_to(file))
