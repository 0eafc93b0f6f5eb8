"""Sends rows, one JSON object a line, with requests:  python examples/send.py URL DATASET < rows.ndjson

Where the pipeline has API keys: PINLAKE_API_KEY=plk_...
"""

import gzip
import hashlib
import os
import sys

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

url, dataset = sys.argv[1:]
rows = sys.stdin.buffer.read()
headers = {
    "Content-Type": "application/x-ndjson",
    "Content-Encoding": "gzip",
    # The same key and the same rows are the same records, however often they are sent.
    "Idempotency-Key": hashlib.sha256(rows).hexdigest(),
}
if key := os.environ.get("PINLAKE_API_KEY"):
    headers["x-api-key"] = key

session = requests.Session()
# After 429 and 503 again, when Retry-After says; POST is not among what urllib3 repeats by itself.
again = Retry(total=5, backoff_factor=0.5, status_forcelist=[429, 503], allowed_methods=None, raise_on_status=False)
session.mount("http://", HTTPAdapter(max_retries=again))
session.mount("https://", HTTPAdapter(max_retries=again))
answer = session.post(f"{url.rstrip('/')}/v1/{dataset}", data=gzip.compress(rows), headers=headers, timeout=30)
print(answer.text)
sys.exit(0 if answer.ok else f"{answer.status_code}: the message above says what to mend")
