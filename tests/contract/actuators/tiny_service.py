"""A service of the smallest kind, for tests of the host: its image decides how it behaves, and it says who it is.

``DIGEST``: ``sha256:`` and 64 digits, of which the first names the behaviour: ``a``-``f`` well, ``1`` never ready, ``2`` ends at once.
As a run of a job it ends: well, or where it is ``2`` badly; where ``CONFIG_UNTIL`` names a file, when that is there.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BEHAVIOUR = os.environ["DIGEST"].removeprefix("sha256:")[0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/slow":
            time.sleep(0.5)
        well = not (self.path == "/healthz" and BEHAVIOUR == "1")
        shown = ("SERVICE", "CTRLPLANE_VERSION", "CTRLPLANE_ROUTES", "CTRLPLANE_STANDBY", "OTEL_RESOURCE_ATTRIBUTES", "CONFIG_COLOUR")
        body = json.dumps({"pid": os.getpid(), **{name: os.environ.get(name) for name in shown}}).encode()
        self.send_response(200 if well else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (body[: len(body) // 2], body[len(body) // 2 :]):
            if piece:
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


if BEHAVIOUR == "2":
    sys.exit(1)
if "CTRLPLANE_RUN" in os.environ:
    while not os.path.exists(os.environ.get("CONFIG_UNTIL", "/")):
        time.sleep(0.02)
    sys.exit(0)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # five, the library's own, lets a burst of callers wait for retransmissions


Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
