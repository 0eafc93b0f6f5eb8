#!/usr/bin/env bash
# Every source but HTTP, over a stack that runs: AWS's own SDK and the Kinesis Producer Library's packer on the stream, a
# Kafka broker whose batches are handed to the cleaner as Lambda hands them, files in the inbox, and a sink's bucket.
#
#   PINLAKE_STACK=target/demo/stack.json tests/sources/run.sh
#
# All it makes lies in target/sources. Packages come through pip at exactly the versions of requirements.txt, once.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work="${CARGO_TARGET_DIR:-$root/target}/sources"
pinlake="${CARGO_TARGET_DIR:-$root/target}${CARGO_BUILD_TARGET:+/$CARGO_BUILD_TARGET}/debug/pinlake"

if [ -z "${PINLAKE_STACK:-}" ]; then
    echo "sources: PINLAKE_STACK is not set: \`make up\`, then PINLAKE_STACK=\$PWD/target/demo/stack.json $0" >&2
    exit 2
fi
# shellcheck source=../venv.sh
. "$here/../venv.sh"
venv "$work/venv" "$here/requirements.txt"
# The packer's generated code is older than today's protobuf, which reads it in Python only.
export PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python PYTHONPATH="$here/.."
exec "$work/venv/bin/python" "$here/check.py" "$PINLAKE_STACK" "$pinlake"
