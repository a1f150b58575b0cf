# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The shop's `inventory` service, in Python: /stock/THING, below 1000; ends with its standard input."""

import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Inventory(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self):
        thing = self.path.rsplit("/", 1)[-1]
        known = thing.isdecimal() and int(thing) < 1000
        time.sleep((3 + int(thing) % 5 if known else 3) / 1000)
        body = f"{thing}: many".encode() if known else b"no such thing"
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def end_with_stdin():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_stdin, daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Inventory).serve_forever()
