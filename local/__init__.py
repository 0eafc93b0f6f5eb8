"""Runs pinlake on this machine: starts and stops the local stand-in for AWS, deploys template.yaml to it, and
drives the demo through it.

``python -m local up|down|demo|chaos|airflow`` is what the Makefile calls. Nothing here is deployed, and nothing here
reaches an AWS account: every child process gets the environment of :func:`local.places.environment`, which names the
stand-in and no credentials that AWS would take.

- :mod:`local.places`: files, addresses, the environment of child processes
- :mod:`local.console`: what the user reads while things run
- :mod:`local.stand_in`: the stand-in's process
- :mod:`local.stack`: build, deploy, ``target/demo/stack.json``
- :mod:`local.demo`: from input to answers
- :mod:`local.airflow`: the DAG in a real Airflow
- :mod:`local.chaos`: the deployed functions under faults
"""
