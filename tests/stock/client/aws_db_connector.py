import sqlalchemy
import yaml


class AWSDBConnector:
    """The database with the posts; db_creds.yaml has the credentials."""

    def __init__(self, creds_file="db_creds.yaml"):
        with open(creds_file) as file:
            creds = yaml.safe_load(file)
        self.HOST = creds["HOST"]
        self.USER = creds["USER"]
        self.PASSWORD = creds["PASSWORD"]
        self.DATABASE = creds["DATABASE"]
        self.PORT = creds["PORT"]

    def create_db_connector(self):
        return sqlalchemy.create_engine(
            f"mysql+pymysql://{self.USER}:{self.PASSWORD}@{self.HOST}:{self.PORT}/{self.DATABASE}?charset=utf8mb4"
        )
