"""Runs pinlake on this machine: starts and stops the local stand-in for AWS, deploys template.yaml to it, and
drives the demo through it.

``python -m local up|down|demo|chaos|airflow`` is what the Makefile calls. Nothing here is deployed, and nothing here
connects to an AWS account: every child process gets the environment of :func:`local.places.environment`, which has the
endpoint of the stand-in and no credentials that AWS would accept.

- :mod:`local.places`: files, addresses, the environment of child processes
- :mod:`local.console`: messages to the user
- :mod:`local.stand_in`: the stand-in's process
- :mod:`local.stack`: build, deploy, ``target/demo/stack.json``
- :mod:`local.demo`: from input to results
- :mod:`local.airflow`: the DAG in Airflow
- :mod:`local.chaos`: the deployed functions under faults
"""
