#!/usr/bin/env bash
# Lets delta-rs change tables between loads of pinlake: append, update, delete, merge, optimise, vacuum, checkpoint, a new column. After each
# step pinlake loads the same records again, and a new one; both programs must then find the same rows.
#
#   tests/writers/run.sh [PINLAKE]     PINLAKE: the program (default: the one that `cargo build` builds)
#
# All files are in target/writers. pip installs the exact versions of ../readers/deltalake.txt there, once.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target="${CARGO_TARGET_DIR:-$root/target}"
pinlake="${1:-$target${CARGO_BUILD_TARGET:+/$CARGO_BUILD_TARGET}/debug/pinlake}"
work="$target/writers"

if [ ! -x "$pinlake" ]; then
    echo "writers: $pinlake is missing: run \`cargo build\` first" >&2
    exit 2
fi
unset PINLAKE_LAKE PINLAKE_DATASETS PINLAKE_QUERIES

# shellcheck source=../venv.sh
. "$here/../venv.sh"
venv "$work/deltalake" "$here/../readers/deltalake.txt"
rm -rf "$work/lakes"
"$work/deltalake/bin/python" "$here/steps.py" "$pinlake" "$work/lakes"
