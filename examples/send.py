"""Sends records, one JSON object per line, with requests:  python examples/send.py URL DATASET < records.ndjson

If the pipeline has API keys, set PINLAKE_API_KEY=plk_...
"""

import gzip
import hashlib
import os
import sys

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

url, dataset = sys.argv[1:]
records = sys.stdin.buffer.read()
headers = {
    "Content-Type": "application/x-ndjson",
    "Content-Encoding": "gzip",
    # A hash of the records, so that sending them again adds no records.
    "Idempotency-Key": hashlib.sha256(records).hexdigest(),
}
if key := os.environ.get("PINLAKE_API_KEY"):
    headers["x-api-key"] = key

session = requests.Session()
# Retries after 429 and 503, as Retry-After says. By default urllib3 does not retry POST.
retry = Retry(total=5, backoff_factor=0.5, status_forcelist=[429, 503], allowed_methods=None, raise_on_status=False)
session.mount("http://", HTTPAdapter(max_retries=retry))
session.mount("https://", HTTPAdapter(max_retries=retry))
response = session.post(f"{url.rstrip('/')}/v1/{dataset}", data=gzip.compress(records), headers=headers, timeout=30)
print(response.text)
sys.exit(0 if response.ok else f"error: status {response.status_code}")
