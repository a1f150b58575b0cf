# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What the programs share: a server over sockets, orders on stdin, and the paths that were asked for on stdout."""

import http.server
import itertools
import os
import ssl
import sys
import threading

ROUNDS = itertools.count()


def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["CERTIFICATE"], os.environ["KEY"])
    return context


def client_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, handler=Echo):
        super().__init__(("127.0.0.1", 0), handler)
        self.context = server_context()
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, client_address):
        # The handshake belongs to the connection's own thread.
        with self.context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)


def request(port, path):
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()


def check(path, answer):
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200") or body != path.encode():
        sys.exit(f"{path} was answered with {bytes(answer)!r}")


def is_whole(answer, path):
    head, found, body = bytes(answer).partition(b"\r\n\r\n")
    return bool(found) and len(body) >= len(path)


def obey(port, work):
    print(f"ready {port}", flush=True)
    for _ in sys.stdin:
        for path in work(next(ROUNDS)):
            print(path)
        print(flush=True)
