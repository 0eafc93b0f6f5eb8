import json
import random
from time import sleep

import requests
from aws_db_connector import AWSDBConnector
from sqlalchemy import text

random.seed(100)

INVOKE_URL = "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/test"
USER_ID = "0a1b2c3d4e5f"
TABLES = {"pin": "pinterest_data", "geo": "geolocation_data", "user": "user_data"}

new_connector = AWSDBConnector()


def put_record(name, result):
    stream_name = f"streaming-{USER_ID}-{name}"
    invoke_url = f"{INVOKE_URL}/streams/{stream_name}/record"
    payload = json.dumps({"StreamName": stream_name, "Data": result, "PartitionKey": "partition-1"}, default=str)
    headers = {"Content-Type": "application/json"}
    response = requests.request("PUT", invoke_url, headers=headers, data=payload)
    print(name, response.status_code)


def run_infinite_post_data_loop():
    while True:
        sleep(random.randrange(0, 2))
        random_row = random.randint(0, 11000)
        engine = new_connector.create_db_connector()

        with engine.connect() as connection:
            for name, table in TABLES.items():
                selected = connection.execute(text(f"SELECT * FROM {table} LIMIT {random_row}, 1"))
                for row in selected:
                    put_record(name, dict(row._mapping))


if __name__ == "__main__":
    print("Working")
    run_infinite_post_data_loop()
