"""Passes S3 notifications to the trigger queue, and drops, delays or doubles some of them. S3 sends them to a separate
queue, because the stand-in reads the trigger queue at once."""

import heapq
import threading
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local import stack
from local.chaos.faults import Faults

_QUEUE = "chaos-notifications"
_LATEST_SECONDS = 20


class Notifications:
    """A thread that passes notifications on."""

    def __init__(self, described: dict[str, Any], faults: Faults) -> None:
        self._faults = faults
        self._chance = faults.chance("notifications")
        self._sqs = stack.client("sqs", described["endpoint"])
        self._s3 = stack.client("s3", described["endpoint"])
        self._bucket = described["bucket"]
        self._trigger_queue = described["queue"]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="chaos-notifications")
        self._waiting: list[tuple[float, int, str]] = []
        self._outbox: list[str] = []
        self.passed = 0

    def start(self) -> None:
        """Creates the queue, has the bucket send its notifications there, and starts the thread."""
        self._queue = self._sqs.create_queue(QueueName=_QUEUE)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        configurations = self._s3.get_bucket_notification_configuration(Bucket=self._bucket)["QueueConfigurations"]
        ours = [{**part, "QueueArn": attributes["QueueArn"]} for part in configurations]
        self._s3.put_bucket_notification_configuration(
            Bucket=self._bucket, NotificationConfiguration={"QueueConfigurations": ours}
        )
        self._thread.start()

    def sweep(self) -> None:
        """Sends the trigger that the schedule of the template sends every 15 minutes."""
        self._sqs.send_message(QueueUrl=self._trigger_queue, MessageBody='{"wake":[]}')

    def stop(self) -> None:
        """Stops the thread."""
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._send()
                self._take()
            except (BotoCoreError, ClientError):
                # The stand-in is being restarted.
                time.sleep(0.2)

    def _send(self) -> None:
        now = time.monotonic()
        while self._waiting and (self._waiting[0][0] <= now or not self._faults.on):
            self._outbox.append(heapq.heappop(self._waiting)[2])
        while self._outbox:
            self._sqs.send_message(QueueUrl=self._trigger_queue, MessageBody=self._outbox[-1])
            self._outbox.pop()
            self.passed += 1

    def _take(self) -> None:
        messages = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in messages.get("Messages", []):
            body = message["Body"]
            fault = self._faults.draw(self._chance, ["lost", "late", "twice"])
            match fault:
                case "lost":
                    pass
                case "late":
                    until = time.monotonic() + self._chance.uniform(1, _LATEST_SECONDS)
                    heapq.heappush(self._waiting, (until, id(message), body))
                case "twice":
                    self._outbox += [body, body]
                case _:
                    self._outbox.append(body)
            if fault is not None:
                self._faults.strike("S3 events", fault, "landing", body[:200])
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
