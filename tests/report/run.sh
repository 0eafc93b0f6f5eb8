#!/usr/bin/env bash
# Opens pages of `pinlake report` in a headless Chromium: charts, tables, colours, widths, hostile texts, failures, print;
# and the page that the function `report` answers with.
#
#   tests/report/run.sh [PINLAKE]     PINLAKE: the program (default: the one that `make build` builds)
#
# With PINLAKE_STACK it also opens the page of the running stack. The function is the one that was built beside the program,
# or that of the stack: `sam build` moves it.
#
# Needs Chromium (Debian: apt install chromium), and is skipped without it. All files are in target/report. pip installs the
# exact versions of requirements.txt there, once.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target="${CARGO_TARGET_DIR:-$root/target}"
work="$target/report"
pinlake="${1:-$target${CARGO_BUILD_TARGET:+/$CARGO_BUILD_TARGET}/debug/pinlake}"

if [ ! -x "$pinlake" ]; then
    echo "report: $pinlake is missing: run \`make build\` first" >&2
    exit 2
fi
function="$(dirname "$pinlake")/report"
if [ ! -x "$function" ] && [ -n "${PINLAKE_STACK:-}" ]; then
    function="$(dirname "$PINLAKE_STACK")/build/Report/bootstrap"
fi
if [ ! -x "$function" ]; then
    echo "report: $function is missing: run \`make build\` first" >&2
    exit 2
fi
chromium=$(command -v chromium || command -v google-chrome || true)
if [ -z "$chromium" ]; then
    echo 'report: skipped: no Chromium' >&2
    exit 0
fi
unset PINLAKE_LAKE PINLAKE_DATASETS PINLAKE_QUERIES

# shellcheck source=../venv.sh
. "$here/../venv.sh"
venv "$work/venv" "$here/requirements.txt"
PYTHONPATH=$root exec "$work/venv/bin/python" "$here/check.py" "$pinlake" "$function" "$chromium" "$work"
