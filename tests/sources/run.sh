#!/usr/bin/env bash
# Tests every source except HTTP on a running stack: the AWS SDK and records aggregated as by the Kinesis Producer Library,
# a Kafka broker with the events of Lambda, files in the inbox, and the bucket of a sink.
#
#   PINLAKE_STACK=target/demo/stack.json tests/sources/run.sh
#
# All files are in target/sources. pip installs the exact versions of requirements.txt there, once.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../on_stack.sh
. "$here/../on_stack.sh"
venv "$work/venv" "$here/requirements.txt"
# The generated code of the aggregator is too old for protobuf's C implementation.
export PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python PYTHONPATH="$here/.."
exec "$work/venv/bin/python" "$here/check.py" "$PINLAKE_STACK" "$built/pinlake"
