#!/usr/bin/env bash
# The HTTP API of a stack that runs, by clients that are not ours: requests as the old pipelines' scripts use it, Confluent's
# own client of its proxy, the examples, and schemathesis with the function's own OpenAPI document.
#
#   PINLAKE_STACK=target/demo/stack.json tests/api/run.sh
#
# All it makes lies in target/api-clients. Packages come through pip and npm at exactly the versions of requirements.txt and
# package.json, once. Without node and npm, what needs them is skipped, and that is said.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../on_stack.sh
. "$here/../on_stack.sh"
work="$target/api-clients"
venv "$work/venv" "$here/requirements.txt"
if command -v node >/dev/null && command -v npm >/dev/null && ! cmp -s "$here/package.json" "$work/node/installed.json"; then
    rm -rf "$work/node" && mkdir -p "$work/node" && cp "$here/package.json" "$work/node/"
    npm install --prefix "$work/node" --ignore-scripts --no-audit --no-fund --no-package-lock --silent
    cp "$here/package.json" "$work/node/installed.json"
fi
cargo build --quiet --workspace --example send
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost
PYTHONPATH="$here/.." "$work/venv/bin/python" "$here/check.py" "$PINLAKE_STACK" "$built/pinlake" "$built/examples/send" "$work/node"

url=$("$work/venv/bin/python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["ingest_url"])' "$PINLAKE_STACK")
# What a run finds is for its output alone: nothing is kept from run to run. One worker: Python 3.11 does not compile what
# hypothesis draws in several threads.
cd "$(mktemp -d)"
SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$here "$work/venv/bin/schemathesis" \
    --config-file "$here/schemathesis.toml" --no-color \
    run "$url/openapi.json" --url "$url" --workers 1 --max-examples 12 --max-time "${SCHEMATHESIS_SECONDS:-60}" >&2
