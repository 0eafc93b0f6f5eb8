#!/usr/bin/env bash
# Every test, those over the deployed stack included. `make test` has built everything and calls it with
# CARGO_BUILD_TARGET set. The stack is the tests' own, beside one that `make up` started, and stops at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

stack() {
    PINLAKE_STATE=test PINLAKE_PORT=${PINLAKE_TEST_PORT:-4567} .venv/bin/python -m local "$1"
}

# Under faults first, on a stack of its own that is gone when it ends: two stacks at once would only be slower.
PINLAKE_STATE=chaos PINLAKE_PORT=${PINLAKE_CHAOS_PORT:-4568} .venv/bin/python -m local chaos --seconds 45

trap 'stack down' EXIT
stack up
export PINLAKE_STACK=$PWD/target/test/stack.json

# Readers, sources and clients first: the closing line is to be cargo's.
tests/readers/run.sh
tests/sources/run.sh
tests/stock/run.sh
tests/api/run.sh
cargo test --workspace
