#!/usr/bin/env bash
# Tests the clients of the pipeline that pinlake replaces, unchanged except for the host in the URL: batch and streaming at
# the same time, interrupted, killed and restarted. They read from a MariaDB with the source tables.
#
#   PINLAKE_STACK=target/demo/stack.json tests/stock/run.sh
#
# All files are in target/stock. pip installs the exact versions of requirements.txt there, once.
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
