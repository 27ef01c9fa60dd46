"""Stores on this machine, each of them a server in its own process."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from ranks import free_port

try:
    import boto3
except ImportError:  # its tests skip
    boto3 = None


NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
_NGINX = """
daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log {place}/access.log; default_type application/octet-stream; types {{ application/json json; }}
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  gzip on; gzip_min_length 1; gzip_types application/json;
  server {{ listen 127.0.0.1:{port}; root {root}; {more} }}
}}
"""


class Server:
    """A server's process; as a context manager, it ends with its block."""

    process: subprocess.Popen[Any]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Nginx(Server):
    """An nginx that serves the files of a folder, with JSON compressed, as many sites do. A context manager.

    Args:
        folder: the folder to serve.
        state_folder: a new folder for nginx's own files.
        directives: more directives of its server.
    """

    def __init__(self, folder: Path, state_folder: Path, directives: str = "") -> None:
        state_folder.mkdir()
        port = free_port()
        self.state_folder, self.url = state_folder, f"http://127.0.0.1:{port}/{folder.name}"
        config = state_folder / "nginx.conf"
        config.write_text(_NGINX.format(place=state_folder, port=port, root=folder.parent, more=directives))
        assert NGINX
        self.process = subprocess.Popen([NGINX, "-c", str(config), "-e", str(state_folder / "error.log")])
        while self.process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        assert self.process.poll() is None, (state_folder / "error.log").read_text()

    def requests(self) -> Counter[str]:
        """Return how often each file was served."""
        lines = (self.state_folder / "access.log").read_text().splitlines()
        names = [line.split('"')[1] for line in lines if '" 200 ' in line]
        return Counter(name.split()[1].rpartition("/")[2] for name in names if name.startswith("GET"))


class S3(Server):
    """An S3 server with one bucket, ``bucket``, which requires credentials. A context manager.

    Attributes:
        environment: variables that lead to the server, with an access key that may do everything.
        wrong_environment: the same with a key that the server does not know.
        url: a folder in the bucket.
    """

    def __init__(self) -> None:
        port = free_port()
        endpoint = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "moto.server", "-p", str(port)]
        environment = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": "3"}  # those that create the user
        output = subprocess.DEVNULL
        self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        root_credentials = {"aws_access_key_id": "none", "aws_secret_access_key": "none", "region_name": "us-east-1"}
        users = boto3.client("iam", endpoint_url=endpoint, **root_credentials)
        users.create_user(UserName="ann")
        key = users.create_access_key(UserName="ann")["AccessKey"]
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        users.put_user_policy(UserName="ann", PolicyName="all", PolicyDocument=json.dumps(policy))
        self.environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.wrong_environment = self.environment | {"AWS_SECRET_ACCESS_KEY": "wrong"}
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
            region_name="us-east-1",
        )
        self.client.create_bucket(Bucket="bucket")
        self.url = "s3://bucket/data"

    def copy(self, folder: Path, name: str = "data") -> None:
        """Upload a folder's files to a folder of the bucket, by default to :attr:`url`."""
        for file in folder.iterdir():
            self.client.upload_file(str(file), "bucket", f"{name}/{file.name}")

    def files(self, prefix: str) -> dict[str, bytes]:
        """Return the content of the files under a prefix, by name."""
        objects = self.client.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])
        get_object = self.client.get_object
        return {
            entry["Key"].removeprefix(prefix): get_object(Bucket="bucket", Key=entry["Key"])["Body"].read()
            for entry in objects
        }


class Web(Server):
    """A web server with configurable faults (:mod:`webserver`). A context manager.

    Args:
        folder: the folder to serve.
        control: path of the server's control file.
    """

    def __init__(self, folder: Path, control: Path) -> None:
        self.folder, self.control = folder, control
        self.configure()
        command = [sys.executable, str(Path(__file__).with_name("webserver.py")), str(folder), str(control)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/{folder.name}"

    def configure(self, **behaviour: Any) -> None:
        """Set the behaviour from now on: ``faults={"train-000000.tar": ["503", "short"]}``, ``delay``, ``user``."""
        draft = self.control.with_suffix(".draft")
        draft.write_text(json.dumps(behaviour))
        draft.replace(self.control)

    def requests(self) -> Counter[str]:
        """Return how often each file was requested, and with what result: ``{"MANIFEST.json whole": 1}``."""
        log = self.control.with_name(f"{self.control.name}.log")
        return Counter(log.read_text().splitlines() if log.exists() else [])

    def end(self) -> None:
        super().end()
        assert self.process.stdout
        self.process.stdout.close()
