"""``make chaos``: injects faults into the deployed functions and checks the tables with an oracle.

The deployed binaries run on the local stand-in while clients post, and the services between them fail as AWS services
do. After the faults have stopped and the pipeline has drained, the tables must have every acknowledged row once.
docs/faults.md describes what is covered and what was measured.

- :mod:`local.chaos.faults`: the faults and their rates, randomness, and counts of injected faults
- :mod:`local.chaos.proxy`: an HTTP proxy between the functions and S3, Kinesis and SQS that injects faults
- :mod:`local.chaos.processes`: the processes of the functions, and which of them sent a request
- :mod:`local.chaos.event_source`: delivers Kinesis records to the cleaner, as AWS documents it
- :mod:`local.chaos.notifications`: passes S3 notifications to the trigger queue: dropped, late or twice
- :mod:`local.chaos.clients`: several `pinlake replay` processes that are killed and resumed
- :mod:`local.chaos.tables`: a reader of Delta tables that does not use pinlake
- :mod:`local.chaos.comparison`: compares tables with acknowledgements, and checks that the comparison detects damage
- :mod:`local.chaos.run`: a whole run, from a new stack to the result
"""
