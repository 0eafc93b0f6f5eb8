"""What the header and the symbols of a program say: machine, glibc, panic strategy."""

import io
import re
from dataclasses import dataclass

from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

MACHINES = {"arm64": "EM_AARCH64", "x86_64": "EM_X86_64"}
# Amazon Linux 2023, which runs `provided.al2023`, has glibc 2.34 (AL2023 Release Notes, "glibc").
LAMBDA_GLIBC = (2, 34)
# Landing pads of code that unwinds. A program that aborts has those of the standard library only, about 20 KB.
UNWINDING_BYTES = 100_000
# Lambda User Guide, "Lambda quotas": 250 MB for the code, unpacked.
LAMBDA_BYTES = 250 << 20


@dataclass(frozen=True)
class Program:
    """What matters of an ELF file."""

    machine: str
    glibc: tuple[int, ...]
    landing_pad_bytes: int
    size: int


def read_program(data: bytes) -> Program:
    """Reads a program's file."""
    file = ELFFile(io.BytesIO(data))
    glibc: tuple[int, ...] = (0,)
    for section in file.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for _, versions in section.iter_versions():
                for version in versions:
                    found = re.fullmatch(r"GLIBC_(\d+(?:\.\d+)*)", version.name)
                    if found:
                        glibc = max(glibc, tuple(map(int, found[1].split("."))))
    table = file.get_section_by_name(".gcc_except_table")
    return Program(file["e_machine"], glibc, table["sh_size"] if table else 0, len(data))


def find_faults(data: bytes, architecture: str, glibc: tuple[int, ...], *, unwinds: bool) -> list[str]:
    """What is wrong with a program that is to run on `architecture` with at most this glibc."""
    program = read_program(data)
    faults = []
    if program.machine != MACHINES[architecture]:
        faults.append(f"built for {program.machine}, not for {MACHINES[architecture]}")
    if program.glibc > glibc:
        faults.append(f"needs glibc {'.'.join(map(str, program.glibc))}; there is {'.'.join(map(str, glibc))}")
    if unwinds and program.landing_pad_bytes < UNWINDING_BYTES:
        faults.append(f"aborts on a panic: only {program.landing_pad_bytes} bytes of landing pads")
    if program.size > LAMBDA_BYTES:
        faults.append(f"{program.size} bytes; Lambda takes {LAMBDA_BYTES}")
    return faults
