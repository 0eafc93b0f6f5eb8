"""Deploys pinlake to AWS: checks what a deployment needs, builds and deploys, and tests a deployed stack.

``python -m deploy doctor|run|smoke`` is what ``make doctor``, ``make deploy`` and ``make smoke`` call. doctor changes
nothing. All three also work on the local stand-in, whose endpoint is in AWS_ENDPOINT_URL.

- :mod:`deploy.settings`: a section of samconfig.toml, as SAM reads it
- :mod:`deploy.template`: template.yaml with its parameters set
- :mod:`deploy.account`: the AWS account: clients, and what their errors mean
- :mod:`deploy.stack`: a deployed stack: its state, parameters, resources and outputs
- :mod:`deploy.run`: builds and deploys
- :mod:`deploy.doctor`: runs the checks of :mod:`deploy.checks` and prints the findings
- :mod:`deploy.smoke`: posts marked records and finds them in their table
- :mod:`deploy.records`, :mod:`deploy.post`, :mod:`deploy.lake`: the parts of the smoke test
"""
