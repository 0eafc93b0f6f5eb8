#!/usr/bin/env bash
# Every test, those over the deployed stack included. `make test` has built everything and calls it with
# CARGO_BUILD_TARGET set. It uses the stack that runs, or starts one and stops it at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

python=.venv/bin/python
export PINLAKE_STACK=$PWD/target/demo/stack.json

if ! $python -m local status; then
    trap '$python -m local down' EXIT
fi
$python -m local up

# The readers first: the closing line is to be cargo's.
tests/readers/run.sh
cargo test --workspace
