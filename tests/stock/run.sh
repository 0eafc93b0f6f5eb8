#!/usr/bin/env bash
# The clients of the pipeline that pinlake replaces, as their users wrote them, with nothing changed but the host in
# their URL: batch and streaming at once, interrupted, killed and started again, from a MariaDB with the sources' tables.
#
#   PINLAKE_STACK=target/demo/stack.json tests/stock/run.sh
#
# All it makes lies in target/stock. Packages come through pip at exactly the versions of requirements.txt, once.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work="${CARGO_TARGET_DIR:-$root/target}/stock"
pinlake="${CARGO_TARGET_DIR:-$root/target}${CARGO_BUILD_TARGET:+/$CARGO_BUILD_TARGET}/debug/pinlake"
data="$root/../shared/data"

if [ -z "${PINLAKE_STACK:-}" ]; then
    echo "stock: PINLAKE_STACK is not set: \`make up\`, then PINLAKE_STACK=\$PWD/target/demo/stack.json $0" >&2
    exit 2
fi
if [ ! -d "$data" ]; then
    echo "stock: skipped: no $data" >&2
    exit 0
fi
# shellcheck source=../venv.sh
. "$here/../venv.sh"
venv "$work/venv" "$here/requirements.txt"
export PYTHONPATH="$here/..:$here/../oracle"
exec "$work/venv/bin/python" "$here/check.py" "$PINLAKE_STACK" "$pinlake" "$data" "$work"
