"""Serves moto's S3 on a free port, which it prints, until its standard input ends.

A process of its own: libraries that read from it while they hold the interpreter's lock would wait for themselves."""

import logging
import sys
import threading

from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer


def one_at_a_time(method):
    """moto looks for an object, then makes it: of two programs that each create it if it is not there, it tells both that they did."""
    turn = threading.Lock()

    def put(*arguments):
        with turn:
            return method(*arguments)

    return put


if __name__ == "__main__":
    # A line for each request says nothing when a test fails.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    S3Response._key_response_put = one_at_a_time(S3Response._key_response_put)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    print("http://{}:{}".format(*moto.get_host_and_port()), flush=True)
    sys.stdin.read()
    moto.stop()
