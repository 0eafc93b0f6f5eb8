#!/usr/bin/env bash
# Tests the HTTP API of a running stack with other clients: requests as the scripts of the replaced pipelines send them,
# Confluent's client of its REST proxy, the examples, and schemathesis with the OpenAPI document of the function.
#
#   PINLAKE_STACK=target/demo/stack.json tests/api/run.sh
#
# All files are in target/api-clients. pip and npm install the exact versions of requirements.txt and package.json there,
# once. Without node and npm, the checks that need them are skipped with a message.
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
# In a temporary folder, so that nothing is kept between runs. One worker, because the strategies of hypothesis do not
# compile in several threads on Python 3.11.
cd "$(mktemp -d)"
SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$here "$work/venv/bin/schemathesis" \
    --config-file "$here/schemathesis.toml" --no-color \
    run "$url/openapi.json" --url "$url" --workers 1 --max-examples 12 --max-time "${SCHEMATHESIS_SECONDS:-60}" >&2
