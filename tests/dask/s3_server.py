"""A real S3 server on this machine, in a process of its own, for as long as it is asked for."""

import subprocess
import sys
import uuid
from contextlib import contextmanager

SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(*server.get_host_and_port(), flush=True)
# Until the other end goes away, however that comes.
sys.stdin.read()
server.stop()
"""

SECRET = "a-secret-that-must-not-travel"


@contextmanager
def s3_server(monkeypatch):
    """Give the URL of an empty bucket, which the environment says how to reach."""
    import boto3
    from s3fs import S3FileSystem

    # Those of another server, which this process may have asked before.
    S3FileSystem.clear_instance_cache()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        host, port = server.stdout.readline().split()
        for name, value in (
            ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
            ("AWS_ACCESS_KEY_ID", "someone"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ):
            monkeypatch.setenv(name, value)
        bucket = f"cubie-{uuid.uuid4().hex}"
        boto3.client("s3").create_bucket(Bucket=bucket)
        yield f"s3://{bucket}"
    finally:
        server.communicate(timeout=60)
