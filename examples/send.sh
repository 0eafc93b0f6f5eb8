#!/bin/sh
# Sends records, one JSON object per line, with curl:  examples/send.sh URL DATASET < records.ndjson
# If the pipeline has API keys, set PINLAKE_API_KEY=plk_... Needs gzip, sha256sum and curl 7.71 or later.
set -eu
url=$1 dataset=$2
records=$(mktemp) response=$(mktemp)
trap 'rm -f "$records" "$response"' EXIT
gzip -nc > "$records"

# The Idempotency-Key is a hash of the records, so that sending them again adds no records. curl retries after 429, 503 and
# connection errors, as Retry-After says. Without --fail it does not retry other errors.
status=$(curl --silent --show-error --retry 5 --retry-all-errors --output "$response" --write-out '%{http_code}' \
    --header "Content-Type: application/x-ndjson" --header "Content-Encoding: gzip" \
    --header "Idempotency-Key: $(sha256sum < "$records" | cut -c 1-64)" \
    ${PINLAKE_API_KEY:+--header "x-api-key: $PINLAKE_API_KEY"} \
    --data-binary "@$records" "${url%/}/v1/$dataset")
cat "$response"
echo
[ "$status" -lt 300 ] || { echo "error: status $status" >&2; exit 1; }
