"""Runs the Python commands of docs/readers.md and docs/migrate.md unchanged: run_docs.py PINLAKE LAKE [BLOCK]

Each section of readers.md, and the cells of migrate.md together, must return the result of `pinlake analyse`. BLOCK is
the word after ```python; without it, only blocks without such a word run.
"""

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

pinlake, lake, *wanted = sys.argv[1:]
docs = Path(__file__).resolve().parents[2] / "docs"
page = (docs / "readers.md").read_text(encoding="utf-8")
blocks = re.findall(r"^## ([^\n]+)$(?:(?!^## ).)*?^```python( \w+)?\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
blocks = [(f"{title} of docs/readers.md", mark, code) for title, mark, code in blocks]
page = (docs / "migrate.md").read_text(encoding="utf-8")
cells = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
blocks.append(("the cells of docs/migrate.md", "", "\n".join(cells)))

# Prints the result of a block and exits at once. During a normal exit, Python kills the threads of pyarrow that close
# files for deltalake, and about one program in fifty is then aborted.
ANSWER = """
import json, os
print(json.dumps([list(row) for row in answer], default=int), flush=True)
os._exit(0)
"""


def extensions_at_hand():
    """Copies DuckDB's extensions from the PyPI package `duckdb_ext` to the folder into which INSTALL downloads them."""
    if find_spec("duckdb_ext"):
        for folder in find_spec("duckdb_ext").submodule_search_locations:
            shutil.copytree(Path(folder) / "extensions", Path.home() / ".duckdb/extensions", dirs_exist_ok=True)


asked = subprocess.run([pinlake, "analyse", "--lake", lake, "--format", "json"], capture_output=True, check=True)
expected = [tuple(row) for row in json.loads(asked.stdout)["users_joined_by_year"]["rows"]]
extensions_at_hand()
ran = []
for title, mark, code in blocks:
    if mark.strip() != (wanted[0] if wanted else ""):
        continue
    # One process for each block, because the native libraries may conflict.
    program = f"LAKE = {lake!r}\n{code}\n{ANSWER}"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"readers: {title} ended with {done.returncode}")
    answer = [tuple(row) for row in json.loads(done.stdout)]
    if answer != expected:
        sys.exit(f"readers: {title} found {answer}, pinlake {expected}")
    ran.append(title)
if not ran or not expected:
    sys.exit("readers: there are no such commands, or there is nothing to find")
print(f"readers: these commands found what pinlake found: {', '.join(ran)}: {expected}")
