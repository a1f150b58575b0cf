# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Python's http.server for the recordings. In: a port and HTTP/1.0 or HTTP/1.1. Out: what each path says."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = sys.argv[2]

    def do_GET(self):
        path = self.path.split("?")[0]
        if path.endswith("/boom"):
            return self.send_error(500)
        if path == "/missing":
            return self.send_error(404)
        if path in ("/none", "/same"):
            self.send_response(204 if path == "/none" else 304)
            return self.end_headers()
        self.send_response(200)
        if path != "/until-close":
            self.send_header("Content-Length", "5")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"hello")

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
