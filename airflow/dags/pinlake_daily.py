"""pinlake, once a day: take in what is left in landing, run the analyses, look at the answers.

The pipeline does not need it: notifications and a sweep every quarter of an hour take rows into the tables, and a
schedule runs the analyses. It is for those who want the day's answers to be a task that others can wait for, in the
Airflow that they have. Runs with Airflow 3 and apache-airflow-providers-amazon; the connection is `aws_default`, or
what boto3 finds by itself. It needs `lambda:InvokeFunction` on the two functions, and nothing else.
"""

import json
from datetime import datetime, timedelta

from airflow.providers.amazon.aws.operators.lambda_function import LambdaInvokeFunctionOperator
from airflow.sdk import Param, dag, task

# An SQS event as the compactor gets it: wake up for all datasets.
SWEEP = {"Records": [{"messageId": "airflow", "eventSource": "aws:sqs", "body": json.dumps({"wake": []})}]}
# Rendered by Airflow: a task that is tried again is the same run, not a second one.
RUN = '{"id": "{{ run_id }}", "time": "{{ dag_run.run_after.isoformat() }}"}'
# The functions' own time limits are 120 s and 300 s. A call that got no answer is a failed task, not one more call.
PATIENT = {"read_timeout": 330, "tcp_keepalive": True, "retries": {"total_max_attempts": 1}}


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={"stack": Param("pinlake", type="string", description="Name of the CloudFormation stack")},
    tags=["pinlake"],
    doc_md=__doc__,
)
def pinlake_daily():
    sweep = LambdaInvokeFunctionOperator(
        task_id="sweep",
        function_name="{{ params.stack }}-compactor",
        payload=json.dumps(SWEEP),
        botocore_config=PATIENT,
    )

    @task
    def nothing_failed(answer: str) -> None:
        """The compactor reports what it could not take; the call itself succeeds."""
        failures = json.loads(answer)["batchItemFailures"]
        if failures:
            raise RuntimeError(f"the compactor could not take all of landing: {failures}; its log says why")

    analyse = LambdaInvokeFunctionOperator(
        task_id="analyse",
        function_name="{{ params.stack }}-analysis",
        payload=RUN,
        botocore_config=PATIENT,
    )

    @task
    def answers_are_there(answer: str) -> dict[str, int]:
        """Every table has been read, every query has an answer. Gives the rows of each result."""
        told = json.loads(answer)
        unread = sorted(table for table, version in told["versions"].items() if version is None)
        empty = sorted(result for result, rows in told["rows"].items() if rows == 0)
        if unread or empty:
            raise RuntimeError(f"run {told['run']}: no table yet for {unread}, no rows in {empty}")
        return told["rows"]

    nothing_failed(sweep.output) >> analyse
    answers_are_there(analyse.output)


pinlake_daily()
