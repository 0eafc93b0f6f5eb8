#!/bin/sh
# Sends rows, one JSON object a line, with curl:  examples/send.sh URL DATASET < rows.ndjson
# Where the pipeline has API keys: PINLAKE_API_KEY=plk_... Needs gzip, sha256sum and curl 7.76 or later.
set -eu
url=$1 dataset=$2
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
gzip -nc > "$rows"

# The same key and the same rows are the same records, however often curl tries; it does so after 429 and 503, when told.
curl --silent --show-error --fail-with-body --retry 5 --retry-connrefused \
    --header "Content-Type: application/x-ndjson" --header "Content-Encoding: gzip" \
    --header "Idempotency-Key: $(sha256sum < "$rows" | cut -c 1-64)" \
    ${PINLAKE_API_KEY:+--header "x-api-key: $PINLAKE_API_KEY"} \
    --data-binary "@$rows" "${url%/}/v1/$dataset"
echo
