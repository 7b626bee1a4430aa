"""An S3 server for tests: moto, on the loopback interface, alone or behind a proxy that tells less than the truth."""

import contextlib
import http.client
import http.server
import pathlib
import subprocess
import sys
import threading

import boto3
import pyarrow as pa
from botocore.config import Config
from deltalake import DeltaTable, QueryBuilder
from pyiceberg.catalog.sql import SqlCatalog

from conftest import rows

KEY, SECRET, TOKEN, OTHER_SECRET = "AKIAWAREHOUSE", "hush-secret-of-the-lake", "hush-token-of-the-lake", "hush-secret-of-the-other"
SECRETS = (SECRET, TOKEN, OTHER_SECRET)


def client_of(endpoint: str):
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET,
                        config=Config(max_pool_connections=50))


@contextlib.contextmanager
def object_store(*buckets: str):
    """Address of an S3 server with these buckets."""
    program = pathlib.Path(__file__).with_name("moto_server.py")
    process = subprocess.Popen([sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        endpoint = process.stdout.readline().strip()
        for bucket in buckets:
            client_of(endpoint).create_bucket(Bucket=bucket)
        yield endpoint
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def configuration(directory, endpoint: str, other_endpoint: str, warehouse: str = "ware house", log: str = "trace",
                  ignore_environment: bool = True):
    """A configuration file: the bucket `other` has settings of its own."""
    (directory / "secret").write_text(OTHER_SECRET + "\n")
    file = directory / "auric.toml"
    file.write_text(f"""
[log]
level = "{log}"
[catalogs.lake]
warehouse = "s3://lake/{warehouse}"
[storage.s3]
endpoint = "{endpoint}"
region = "us-east-1"
access_key_id = "{KEY}"
secret_access_key = "{SECRET}"
session_token = "{TOKEN}"
ignore_environment = {str(ignore_environment).lower()}
[storage.s3.buckets.other]
endpoint = "{other_endpoint}"
region = "us-east-1"
access_key_id = "AKIAOTHER"
secret_access_key = "file:{directory}/secret"
ignore_environment = true
""")
    return file


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the store, and its answers back."""

    protocol_version = "HTTP/1.1"
    # Else each answer waits for the client's acknowledgement of its headers.
    wbufsize = -1
    disable_nagle_algorithm = True
    store = ""

    def handle_request(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(*self.ask())

    def ask(self) -> tuple[int, dict[str, str], bytes]:
        """The store's answer: status, headers and content."""
        connection = http.client.HTTPConnection(self.store)
        kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        connection.request(self.command, self.path, self.body, kept)
        answer = connection.getresponse()
        status, headers, content = answer.status, dict(answer.headers), answer.read()
        connection.close()
        return status, headers, content

    def answer(self, status: int, headers: dict[str, str], content: bytes):
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = lambda self: self.handle_request()

    def log_message(self, *arguments):
        pass


class ProxyServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client that did not wait for its answer is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def behind(handler: type[Proxy], store: str, **attributes):
    """Address of a proxy before the store, and the class of its requests."""
    handler = type("Handler", (handler,), {"store": store.removeprefix("http://"), **attributes})
    proxy = ProxyServer(("127.0.0.1", 0), handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}", handler
    finally:
        proxy.shutdown()
        proxy.server_close()


def pyiceberg(lake, s3, warehouse: str = "ware house") -> SqlCatalog:
    return SqlCatalog("lake", **{
        "uri": f"sqlite:///{lake.data_dir}/catalog.db", "warehouse": f"s3://lake/{warehouse}", "s3.endpoint": s3, "s3.region": "us-east-1",
        "s3.access-key-id": KEY, "s3.secret-access-key": SECRET, "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
    })


def delta_options(s3) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL": s3, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}


def read(lake, s3, format: str, schema: str, table: str, warehouse: str = "ware house") -> list[tuple]:
    """Rows of a table as the format's own library reads them."""
    if format == "iceberg":
        return rows(pyiceberg(lake, s3, warehouse).load_table((schema, table)).scan().to_arrow())
    found = DeltaTable(f"s3://lake/{warehouse}/{schema}/{table}", storage_options=delta_options(s3))
    return rows(pa.table(QueryBuilder().register("found", found).execute("select * from found").read_all()))
