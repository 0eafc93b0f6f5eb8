"""Formats rows in the same way for every library that read them."""

import json
from datetime import UTC, datetime


def plain(cell):
    """Times as ISO 8601 in UTC to the microsecond, bytes as hex, pairs and arrays as lists."""
    if isinstance(cell, datetime):
        zoned = cell if cell.tzinfo else cell.replace(tzinfo=UTC)
        return zoned.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(cell, (bytes, bytearray, memoryview)):
        return bytes(cell).hex()
    if isinstance(cell, (list, tuple)):
        return [plain(part) for part in cell]
    return cell


def write(path, columns):
    """Writes rows given as {name: cells}, sorted, one JSON object a line."""
    names = list(columns)
    rows = [json.dumps(dict(zip(names, map(plain, row))), ensure_ascii=False) for row in zip(*columns.values())]
    path.write_text("".join(row + "\n" for row in sorted(rows)), encoding="utf-8")
