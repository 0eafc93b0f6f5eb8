"""A MariaDB server for the duration of a test, and the source tables."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import stock_client

HOST = "127.0.0.1"
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin")

_TABLES = {
    "pinterest_data": """`index` BIGINT, unique_id TEXT, title TEXT, description TEXT, poster_name TEXT,
        follower_count TEXT, tag_list TEXT, is_image_or_video TEXT,
        image_src TEXT, downloaded BIGINT, save_location TEXT, category TEXT""",
    "geolocation_data": "ind BIGINT, timestamp DATETIME, latitude DOUBLE, longitude DOUBLE, country TEXT",
    "user_data": "ind BIGINT, first_name TEXT, last_name TEXT, age BIGINT, date_joined DATETIME",
}


def program() -> Path | None:
    """The server's program, if it is installed."""
    return next((found for place in _PLACES if (found := Path(place, "mariadbd")).exists()), None)


@contextmanager
def running(folder: Path) -> Iterator[dict[str, Any]]:
    """Starts a server with the database `pinterest_data`. Yields the connection parameters of pymysql."""
    server = program()
    assert server is not None
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    data = f"--datadir={folder / 'data'}"
    as_root = ["--user=root"] if os.getuid() == 0 else []
    # A server removes temporary tables of other servers from a shared temporary folder when it starts.
    settings = dict(os.environ) | {"TMPDIR": str(folder)}
    install = [
        "mariadb-install-db",
        "--no-defaults",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        data,
    ]
    subprocess.run([*install, *as_root], env=settings, capture_output=True, check=True)
    socket_file = folder / "sock"
    # The clients create a connection pool in each round and do not close it.
    bounds = ["--innodb-buffer-pool-size=32M", "--max-connections=1000", "--skip-log-bin"]
    command = [server, "--no-defaults", f"--bind-address={HOST}", f"--port={port}", f"--socket={socket_file}", data]
    log = folder / "mariadb.log"
    with log.open("w") as out:
        process = subprocess.Popen([*command, *bounds, *as_root], env=settings, stdout=out, stderr=out)
    try:
        connection = _connect(process, log, unix_socket=str(socket_file), user="root")
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE pinterest_data CHARACTER SET utf8mb4")
            cursor.execute("CREATE USER project_user@'%' IDENTIFIED BY 'project'")
            cursor.execute("GRANT ALL ON pinterest_data.* TO project_user@'%'")
        entered = {"host": HOST, "port": port, "user": "project_user", "password": "project"}
        yield entered | {"database": "pinterest_data"}
    finally:
        process.kill()
        process.wait()


def _connect(process: subprocess.Popen[bytes], log: Path, **how: str) -> pymysql.Connection:
    for _ in range(300):
        try:
            return pymysql.connect(**how)
        except pymysql.OperationalError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError(f"MariaDB does not answer; {log} says why")


def load(entered: dict[str, Any], data: Path, first: int) -> None:
    """Creates the source tables as the clients expect them, with `first` added to the numbers of posts.

    Only some pins are known. Invented ones fill the gaps, so that each known pin is at the offset of its number.
    """
    with (data / "pin_raw.ndjson").open(encoding="utf-8") as file:
        pins = {pin["index"]: pin for pin in map(json.loads, file)}
    rows = {
        "geolocation_data": list(stock_client.table(data / "geolocation_data.csv")),
        "user_data": list(stock_client.table(data / "user_data.csv")),
    }
    names = list(next(iter(pins.values())))
    made_up = dict.fromkeys(names, "made up") | {"follower_count": "0", "downloaded": 1}
    count = len(rows["geolocation_data"])
    rows["pinterest_data"] = [pins.get(place, made_up | {"index": place}) for place in range(count)]
    connection = pymysql.connect(**entered, charset="utf8mb4")
    with connection, connection.cursor() as cursor:
        for table, columns in _TABLES.items():
            cursor.execute(f"CREATE TABLE {table} ({columns})")
            (number, *others) = rows[table][0]
            places = ", ".join(["%s"] * (1 + len(others)))
            values = [(int(row[number]) + first, *(row[name] for name in others)) for row in rows[table]]
            cursor.executemany(f"INSERT INTO {table} VALUES ({places})", values)
        connection.commit()
