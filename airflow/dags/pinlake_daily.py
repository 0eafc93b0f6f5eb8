"""pinlake, once a day: sweep the landing area, run the analyses, check the results.

The pipeline does not need this DAG: notifications and a sweep every 15 minutes insert rows, and a schedule runs the
analyses. Use it if other tasks in your Airflow depend on the day's results. It runs with Airflow 3 and 2 (2.11 was
tested) and apache-airflow-providers-amazon, uses the connection `aws_default` or boto3's default credentials, and needs
`lambda:InvokeFunction` on the functions compactor and analysis.
"""

import json
from datetime import datetime, timedelta

from airflow.providers.amazon.aws.operators.lambda_function import LambdaInvokeFunctionOperator

try:
    from airflow.sdk import Param, dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.models.param import Param

# The compactor's trigger for all datasets, as an SQS event.
SWEEP = {"Records": [{"messageId": "airflow", "eventSource": "aws:sqs", "body": json.dumps({"wake": []})}]}
# Rendered by Airflow: a retried task has the same run id, so it does not start a second run. Airflow 2 lacks run_after.
RUN = '{"id": "{{ run_id }}", "time": "{{ (dag_run.run_after | default(data_interval_end)).isoformat() }}"}'
# Without a response in time the task fails; boto3 does not invoke the function a second time.
INVOKE_CONFIG = {"read_timeout": 330, "tcp_keepalive": True, "retries": {"total_max_attempts": 1}}


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
        botocore_config=INVOKE_CONFIG,
    )

    @task
    def check_sweep(response: str) -> None:
        """Fails if the compactor reports failed messages; the invocation itself succeeds."""
        failures = json.loads(response)["batchItemFailures"]
        if failures:
            raise RuntimeError(f"the compactor failed on {failures}: read its log")

    analyse = LambdaInvokeFunctionOperator(
        task_id="analyse",
        function_name="{{ params.stack }}-analysis",
        payload=RUN,
        botocore_config=INVOKE_CONFIG,
    )

    @task
    def check_results(response: str) -> dict[str, int]:
        """Fails if a table is missing or a result is empty. Returns the number of rows of each result."""
        summary = json.loads(response)
        missing = sorted(table for table, version in summary["versions"].items() if version is None)
        empty = sorted(result for result, rows in summary["rows"].items() if rows == 0)
        if missing or empty:
            raise RuntimeError(
                f"run {summary['run']}: tables that do not exist yet: {missing}, results without rows: {empty}"
            )
        return summary["rows"]

    check_sweep(sweep.output) >> analyse
    check_results(analyse.output)


pinlake_daily()
