#!/bin/sh
# Sends rows, one JSON object a line, with curl:  examples/send.sh URL DATASET < rows.ndjson
# Where the pipeline has API keys: PINLAKE_API_KEY=plk_... Needs gzip, sha256sum and curl 7.71 or later.
set -eu
url=$1 dataset=$2
rows=$(mktemp) answer=$(mktemp)
trap 'rm -f "$rows" "$answer"' EXIT
gzip -nc > "$rows"

# The same key and the same rows are the same records, however often curl tries; it does so after 429 and 503, when told, and
# when there is no answer. Without --fail, a refusal is an answer to it, and is not sent again.
status=$(curl --silent --show-error --retry 5 --retry-all-errors --output "$answer" --write-out '%{http_code}' \
    --header "Content-Type: application/x-ndjson" --header "Content-Encoding: gzip" \
    --header "Idempotency-Key: $(sha256sum < "$rows" | cut -c 1-64)" \
    ${PINLAKE_API_KEY:+--header "x-api-key: $PINLAKE_API_KEY"} \
    --data-binary "@$rows" "${url%/}/v1/$dataset")
cat "$answer"
echo
[ "$status" -lt 300 ] || { echo "$url answered $status" >&2; exit 1; }
