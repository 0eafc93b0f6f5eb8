"""Builds the functions with `sam build`, as `make deploy` does, and the program with maturin."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from local.places import build_environment
from release.archive import write_tar_gz, write_zip
from release.places import DIST, FUNCTIONS, ROOT, TARGETS, WORK, version

DOCUMENTS = ("LICENSE", "README.md", "CHANGELOG.md")
# The oldest glibc that the program runs with. It is that of the oldest systems that PyPI's current pip supports.
MANYLINUX = "manylinux_2_17"


def run(*command: str, cwd: Path = ROOT) -> None:
    """Runs a command; its output goes to standard error."""
    subprocess.run(command, cwd=cwd, env=build_environment(), check=True, stdout=sys.stderr)


def tool(name: str) -> str:
    """A program of the environment that runs this one."""
    return str(Path(sys.executable).parent / name)


def build_functions(architecture: str) -> Path:
    """The functions for an architecture, with the built template: unpacked, `sam deploy` deploys them."""
    built = WORK / f"functions-{architecture}"
    run(
        str(ROOT / ".venv" / "bin" / "sam"), "build", "--config-file", str(ROOT / "samconfig.toml"),
        "--build-dir", str(built), "--parameter-overrides", f"Architecture={architecture}",
    )  # fmt: skip
    files = {"template.yaml": ((built / "template.yaml").read_bytes(), 0o644)}
    files |= {f"{name}/bootstrap": ((built / name / "bootstrap").read_bytes(), 0o755) for name in FUNCTIONS}
    files |= {name: ((ROOT / name).read_bytes(), 0o644) for name in (*DOCUMENTS, "samconfig.toml")}
    path = DIST / f"pinlake-functions-{version()}-{architecture}.zip"
    write_zip(path, files)
    return path


def build_program(architecture: str) -> list[Path]:
    """The program for an architecture: as a wheel, and as a tarball with the same binary."""
    target, wheels = TARGETS[architecture], WORK / f"wheel-{architecture}"
    shutil.rmtree(wheels, ignore_errors=True)
    run(
        tool("maturin"), "build", "--release", "--locked", "--zig", "--compatibility", MANYLINUX, "--target", target,
        "--manifest-path", "cli/Cargo.toml", "--out", str(wheels),
    )  # fmt: skip
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        binary = archive.read(f"pinlake-{version()}.data/scripts/pinlake")
    folder = f"pinlake-{version()}-{target}"
    files = {f"{folder}/pinlake": (binary, 0o755)}
    files |= {f"{folder}/{name}": ((ROOT / name).read_bytes(), 0o644) for name in DOCUMENTS}
    tarball = DIST / f"{folder}.tar.gz"
    write_tar_gz(tarball, files)
    return [tarball, Path(shutil.copy(wheel, DIST))]
