#!/usr/bin/env bash
# Every source but HTTP, over a stack that runs: AWS's own SDK and the Kinesis Producer Library's packer on the stream, a
# Kafka broker whose batches are handed to the cleaner as Lambda hands them, files in the inbox, and a sink's bucket.
#
#   PINLAKE_STACK=target/demo/stack.json tests/sources/run.sh
#
# All it makes lies in target/sources. Packages come through pip at exactly the versions of requirements.txt, once.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../on_stack.sh
. "$here/../on_stack.sh"
venv "$work/venv" "$here/requirements.txt"
# The packer's generated code is older than today's protobuf, which reads it in Python only.
export PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python PYTHONPATH="$here/.."
exec "$work/venv/bin/python" "$here/check.py" "$PINLAKE_STACK" "$built/pinlake"
