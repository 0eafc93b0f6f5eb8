import json
import random
from time import sleep

import requests
from aws_db_connector import AWSDBConnector
from sqlalchemy import text

random.seed(100)

INVOKE_URL = "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/test"
USER_ID = "0a1b2c3d4e5f"

new_connector = AWSDBConnector()


def select_row(connection, table, number):
    selected = connection.execute(text(f"SELECT * FROM {table} LIMIT {number}, 1"))
    for row in selected:
        return dict(row._mapping)


def post_to_topic(topic, result):
    invoke_url = f"{INVOKE_URL}/topics/{USER_ID}.{topic}"
    payload = json.dumps({"records": [{"value": result}]}, default=str)
    headers = {"Content-Type": "application/vnd.kafka.json.v2+json"}
    response = requests.request("POST", invoke_url, headers=headers, data=payload)
    print(topic, response.status_code)


def run_infinite_post_data_loop():
    while True:
        sleep(random.randrange(0, 2))
        random_row = random.randint(0, 11000)
        engine = new_connector.create_db_connector()

        with engine.connect() as connection:
            pin_result = select_row(connection, "pinterest_data", random_row)
            geo_result = select_row(connection, "geolocation_data", random_row)
            user_result = select_row(connection, "user_data", random_row)

            post_to_topic("pin", pin_result)
            post_to_topic("geo", geo_result)
            post_to_topic("user", user_result)


if __name__ == "__main__":
    print("Working")
    run_infinite_post_data_loop()
