#!/usr/bin/env bash
# Reads tables that pinlake wrote with two other readers: `deltalake` (delta-rs) and `delta-lake-reader` (written in
# Python). Both must find the same rows, as many as pinlake reported as inserted, and statistics, comments and the name of
# the contract in the log. Then runs the commands of docs/readers.md and docs/migrate.md.
#
#   tests/readers/run.sh [PINLAKE]     PINLAKE: the program (default: the one that `cargo build -p pinlake` builds)
#
# All files are in target/readers. pip installs the exact versions of *.txt there, once.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work="${CARGO_TARGET_DIR:-$root/target}/readers"
pinlake="${1:-${CARGO_TARGET_DIR:-$root/target}${CARGO_BUILD_TARGET:+/$CARGO_BUILD_TARGET}/debug/pinlake}"

if [ ! -x "$pinlake" ]; then
    echo "readers: $pinlake is missing: run \`cargo build -p pinlake\` first" >&2
    exit 2
fi
unset PINLAKE_LAKE PINLAKE_DATASETS PINLAKE_QUERIES

# shellcheck source=../venv.sh
. "$here/../venv.sh"
for name in deltalake delta-lake-reader docs; do
    venv "$work/$name" "$here/$name.txt"
done

# Loads with duplicates within and between them, for several versions and data files.
rm -rf "$work/lake" "$work/rows" "$work/counts.ndjson" "$work/read"
"$pinlake" generate --out "$work/rows/1" --rows 700 --duplicates 0.2 --dirty 0.1 --seed 1 > /dev/null
"$pinlake" generate --out "$work/rows/2" --rows 500 --duplicates 0.2 --dirty 0.1 --seed 2 > /dev/null
for rows in "$work/rows/1" "$work/rows/2" "$work/rows/1"; do
    "$pinlake" load --lake "$work/lake" "$rows" >> "$work/counts.ndjson"
done

mkdir -p "$work/read/deltalake" "$work/read/delta-lake-reader"
for reader in deltalake delta-lake-reader; do
    "$work/$reader/bin/python" "$here/read_${reader//-/_}.py" "$work/lake/tables" "$work/read/$reader"
done
"$work/deltalake/bin/python" "$here/compare.py" "$work"
# A separate home, because DuckDB stores its extensions there.
HOME="$work/docs" "$work/docs/bin/python" "$here/run_docs.py" "$pinlake" "$work/lake"
