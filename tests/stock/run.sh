#!/usr/bin/env bash
# The clients of the pipeline that pinlake replaces, as their users wrote them, with nothing changed but the host in
# their URL: batch and streaming at once, interrupted, killed and started again, from a MariaDB with the sources' tables.
#
#   PINLAKE_STACK=target/demo/stack.json tests/stock/run.sh
#
# All it makes lies in target/stock. Packages come through pip at exactly the versions of requirements.txt, once.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../on_stack.sh
. "$here/../on_stack.sh"
data="$root/../shared/data"
if [ ! -d "$data" ]; then
    echo "stock: skipped: no $data" >&2
    exit 0
fi
venv "$work/venv" "$here/requirements.txt"
export PYTHONPATH="$here/..:$here/../oracle"
exec "$work/venv/bin/python" "$here/check.py" "$PINLAKE_STACK" "$built/pinlake" "$data" "$work"
