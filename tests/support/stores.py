"""Stores on this machine, each a server in a process of its own."""

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from ranks import free_port

try:
    import boto3
except ImportError:  # its tests skip
    boto3 = None


class S3:
    """An S3 server with one bucket, ``bucket``, which asks for credentials. A context manager.

    Attributes:
        environment: what leads there, with an access key that may do everything.
        wrong: likewise, with one that it does not know.
        url: a folder in the bucket.
    """

    def __init__(self) -> None:
        port = free_port()
        endpoint = f"http://127.0.0.1:{port}"
        call = [sys.executable, "-m", "moto.server", "-p", str(port)]
        environment = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": "3"}  # those that make the user
        output = subprocess.DEVNULL
        self.process = subprocess.Popen(call, env=environment, stdout=output, stderr=output)
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        first = {"aws_access_key_id": "none", "aws_secret_access_key": "none", "region_name": "us-east-1"}
        users = boto3.client("iam", endpoint_url=endpoint, **first)
        users.create_user(UserName="ann")
        key = users.create_access_key(UserName="ann")["AccessKey"]
        allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        users.put_user_policy(UserName="ann", PolicyName="all", PolicyDocument=json.dumps(allow))
        self.environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.wrong = self.environment | {"AWS_SECRET_ACCESS_KEY": "wrong"}
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
            region_name="us-east-1",
        )
        self.client.create_bucket(Bucket="bucket")
        self.url = "s3://bucket/data"

    def copy(self, folder: Path) -> None:
        """Put a folder's files to :attr:`url`."""
        for file in folder.iterdir():
            self.client.upload_file(str(file), "bucket", f"data/{file.name}")

    def files(self, prefix: str) -> dict[str, bytes]:
        """What lies under a prefix, by name."""
        found = self.client.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])
        get = self.client.get_object
        return {
            entry["Key"].removeprefix(prefix): get(Bucket="bucket", Key=entry["Key"])["Body"].read() for entry in found
        }

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> "S3":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Web:
    """A web server that misbehaves as it is told (:mod:`webserver`). A context manager.

    Args:
        folder: whose files it gives.
        control: a file of its own.
    """

    def __init__(self, folder: Path, control: Path) -> None:
        self.folder, self.control = folder, control
        self.tell()
        call = [sys.executable, str(Path(__file__).with_name("webserver.py")), str(folder), str(control)]
        self.process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/{folder.name}"

    def tell(self, **what: Any) -> None:
        """How to behave from now on: ``faults={"train-000000.tar": ["503", "short"]}``, ``delay``, ``user``."""
        draft = self.control.with_suffix(".draft")
        draft.write_text(json.dumps(what))
        draft.replace(self.control)

    def requests(self) -> Counter[str]:
        """How often each name was asked for, and what was done: ``{"MANIFEST.json whole": 1}``."""
        log = self.control.with_name(f"{self.control.name}.log")
        return Counter(log.read_text().splitlines() if log.exists() else [])

    def forget(self) -> None:
        """Begin a new count of requests."""
        self.control.with_name(f"{self.control.name}.log").unlink(missing_ok=True)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    def __enter__(self) -> "Web":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
