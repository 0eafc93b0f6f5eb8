#!/usr/bin/env bash
# Executes the documented commands for deployment, update, rollback and deletion as they are written, on a stand-in of its
# own. Takes two to three minutes. `make test` runs it; by hand, after `make build`:
#
#   CARGO_BUILD_TARGET=... PINLAKE_STATE=deploy-test PINLAKE_PORT=4570 tests/deploy/run.sh
#
# All files are in target/deploy-test, or target/$PINLAKE_STATE. pip installs the exact versions of requirements.txt there, once.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export PINLAKE_STATE=${PINLAKE_STATE:-deploy-test} PINLAKE_PORT=${PINLAKE_PORT:-4570}
# shellcheck source=../venv.sh
. "$here/../venv.sh"
venv "$root/target/$PINLAKE_STATE/aws" "$here/requirements.txt"
export PYTHONPATH="$root:$here/.."
exec "$root/.venv/bin/python" "$here/check.py"
