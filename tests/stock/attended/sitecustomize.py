"""Python imports this module before the unchanged client. It shortens the pauses of the client, raises
KeyboardInterrupt in the last one, and records requests and responses.

Each line of the file ATTENDED_NOTES is one JSON object: {"sent": body} before a request, and {"status": ..., "ack":
..., "sent": body} after its response. If the client is killed in between, only the first is there.
"""

import json
import os
import time

import requests

_NOTES = os.open(os.environ["ATTENDED_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_ROUNDS = int(os.environ["ATTENDED_ROUNDS"])
_SECOND = float(os.environ["ATTENDED_SECOND"])

_sleep = time.sleep
_send = requests.Session.send
_slept = 0


def _note(**what):
    os.write(_NOTES, (json.dumps(what) + "\n").encode())


def _short_sleep(seconds):
    global _slept
    if _slept == _ROUNDS:
        raise KeyboardInterrupt
    _slept += 1
    _sleep(seconds * _SECOND)


def _noted_send(session, request, **settings):
    body = json.loads(request.body)
    _note(sent=body)
    response = _send(session, request, **settings)
    _note(sent=body, status=response.status_code, ack=response.headers.get("Pinlake-Ack", ""))
    return response


time.sleep = _short_sleep
requests.Session.send = _noted_send
