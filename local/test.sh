#!/usr/bin/env bash
# Runs every test, including those of the deployed stack. `make test` builds everything and calls this script with
# CARGO_BUILD_TARGET set. The tests use a stack of their own, apart from that of `make up`, which is stopped at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

stack() {
    PINLAKE_STATE=test PINLAKE_PORT=${PINLAKE_TEST_PORT:-4567} .venv/bin/python -m local "$1"
}

# First, because two stacks at once would only be slower.
PINLAKE_STATE=chaos PINLAKE_PORT=${PINLAKE_CHAOS_PORT:-4568} .venv/bin/python -m local chaos --seconds 45
PINLAKE_STATE=deploy-test PINLAKE_PORT=${PINLAKE_DEPLOY_PORT:-4570} tests/deploy/run.sh

trap 'stack down' EXIT
stack up
export PINLAKE_STACK=$PWD/target/test/stack.json

# cargo test is last, so that the output ends with its summary.
tests/readers/run.sh
tests/writers/run.sh
tests/report/run.sh
tests/sources/run.sh
tests/stock/run.sh
tests/api/run.sh
cargo test --workspace
