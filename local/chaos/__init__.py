"""``make chaos``: the deployed functions under faults, judged by an oracle.

The real binaries run on the local stand-in while clients post, and everything between them fails in the ways that AWS
does. When the faults have stopped and the pipeline has drained, the tables must hold what was acknowledged: once.
docs/faults.md says what is covered and what was measured.

- :mod:`local.chaos.faults`: chance, which faults there are and how often, and what struck
- :mod:`local.chaos.proxy`: HTTP between the functions and S3, Kinesis and SQS, which fails
- :mod:`local.chaos.processes`: the functions' processes, and which of them asks
- :mod:`local.chaos.event_source`: Kinesis to the cleaner, as AWS documents it
- :mod:`local.chaos.notifications`: S3's events to the wake-up queue, which get lost, late and doubled
- :mod:`local.chaos.clients`: `pinlake replay`, several at once, killed and resumed
- :mod:`local.chaos.tables`: a reader of Delta tables that has nothing of pinlake
- :mod:`local.chaos.verdict`: tables against acknowledgements, and the proof that this check can fail
- :mod:`local.chaos.run`: all of it, from a fresh stack to the verdict
"""
