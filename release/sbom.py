"""The software bill of materials: every crate that the functions and the program link, as CycloneDX 1.6."""

import json
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from release.places import ROOT, TARGETS, timestamp, version

PROGRAMS = ("ingest", "cleaner", "compactor", "analysis", "report", "pinlake")


def metadata(target: str) -> dict[str, Any]:
    """Cargo's description of the workspace for a target."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def linked(described: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The packages that the programs link: normal dependencies, not those of builds and tests."""
    packages = {package["id"]: package for package in described["packages"]}
    nodes = {node["id"]: node for node in described["resolve"]["nodes"]}
    waiting = [node for node in nodes if packages[node]["name"] in PROGRAMS and packages[node]["source"] is None]
    seen = set(waiting)
    while waiting:
        at = waiting.pop()
        yield packages[at]
        for dependency in nodes[at]["deps"]:
            is_normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_normal and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                waiting.append(dependency["pkg"])


def checksums() -> dict[tuple[str, str], str]:
    """SHA-256 of the crates, from the lock file."""
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    return {(package["name"], package["version"]): package["checksum"] for package in locked if "checksum" in package}


def write_sbom() -> str:
    """The document for all programs and architectures, as JSON."""
    known, licences = checksums(), LicenseFactory()
    packages = {package["id"]: package for target in TARGETS.values() for package in linked(metadata(target))}
    components = []
    for package in sorted(packages.values(), key=lambda package: (package["name"], package["version"])):
        name, of = package["name"], package["version"]
        checksum = known.get((name, of))
        components.append(
            Component(
                type=ComponentType.LIBRARY if checksum else ComponentType.APPLICATION,
                name=name,
                version=of,
                bom_ref=f"{name}@{of}",
                purl=PackageURL("cargo", name=name, version=of) if checksum else None,
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)] if checksum else (),
                licenses=[licences.make_from_string(package["license"])] if package["license"] else (),
            )
        )
    bom = Bom(components=components, serial_number=uuid5(NAMESPACE_URL, f"pinlake {version()} {timestamp()}"))
    bom.metadata.timestamp = datetime.fromtimestamp(timestamp(), UTC)
    release = Component(type=ComponentType.APPLICATION, name="pinlake", version=version(), bom_ref="release")
    bom.metadata.component = release
    bom.register_dependency(release, [component for component in components if component.type == release.type])
    return JsonV1Dot6(bom).output_as_string(indent=1)
