"""Checks the files of a release: ELF headers, glibc, panic strategy, sizes; starts what this machine can run."""

import hashlib
import platform
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from release import elf, start
from release.places import FUNCTIONS, TARGETS, version

# manylinux_2_17, in the wheel's name.
PROGRAM_GLIBC = (2, 17)
THIS_MACHINE = {"aarch64": "arm64", "x86_64": "x86_64"}.get(platform.machine())


def check_functions(path: Path, architecture: str) -> Iterator[str]:
    """Yields the faults of a zip of functions."""
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        for function in FUNCTIONS:
            member = archive.getinfo(f"{function}/bootstrap")
            data = archive.read(member)
            if not member.external_attr >> 16 & stat.S_IXUSR:
                yield f"{function}: not executable"
            unwinding = elf.find_faults(data, architecture, elf.LAMBDA_GLIBC, unwinds=True)
            yield from (f"{function}: {fault}" for fault in unwinding)
            if architecture == THIS_MACHINE:
                program = Path(folder) / function.lower()
                program.write_bytes(data)
                program.chmod(0o755)
                yield from (f"{function}: {fault}" for fault in start.start(function.lower(), program))


def check_program(tarball: Path, architecture: str) -> Iterator[str]:
    """Yields the faults of the program's tarball and of the wheel beside it."""
    folder = tarball.name.removesuffix(".tar.gz")
    with tarfile.open(tarball) as archive:
        data = archive.extractfile(f"{folder}/pinlake").read()  # type: ignore[union-attr]
    yield from elf.find_faults(data, architecture, PROGRAM_GLIBC, unwinds=False)
    machine = TARGETS[architecture].split("-")[0]
    wheels = list(tarball.parent.glob(f"pinlake-{version()}-*manylinux*{machine}.whl"))
    if len(wheels) != 1:
        yield f"there are {len(wheels)} wheels for {machine}"
    elif architecture == THIS_MACHINE:
        yield from install(wheels[0])


def install(wheel: Path) -> Iterator[str]:
    """Installs a wheel into a new environment and starts the program."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", str(wheel)]
        subprocess.run(pip, check=True)
        answer = subprocess.run([f"{folder}/bin/pinlake", "--version"], capture_output=True, text=True, check=False)
        if answer.stdout.strip() != f"pinlake {version()}":
            yield f"{wheel.name}: pinlake --version says {answer.stdout!r} {answer.stderr!r}"


def check_checksums(folder: Path) -> Iterator[str]:
    """Yields what SHA256SUMS says wrongly, or does not mention."""
    sums = dict(reversed(line.split("  ", 1)) for line in (folder / "SHA256SUMS").read_text().splitlines())
    for file in sorted(folder.iterdir()):
        if file.name == "SHA256SUMS":
            continue
        if sums.get(file.name) != hashlib.sha256(file.read_bytes()).hexdigest():
            yield f"{file.name}: its checksum is not the one in SHA256SUMS"


def find_faults(folder: Path, architectures: list[str]) -> list[str]:
    """What is wrong with the files in `folder`."""
    faults = list(check_checksums(folder))
    for architecture in architectures:
        functions = folder / f"pinlake-functions-{version()}-{architecture}.zip"
        tarball = folder / f"pinlake-{version()}-{TARGETS[architecture]}.tar.gz"
        faults += [f"{functions.name}: {fault}" for fault in check_functions(functions, architecture)]
        faults += [f"{tarball.name}: {fault}" for fault in check_program(tarball, architecture)]
    return faults
