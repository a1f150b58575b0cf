# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Two sessions in memory; nanoseconds for a request and its answer, for each line."""

import os
import ssl
import sys
import time

REQUESTS = 4000

server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_context.load_cert_chain(os.environ["CERTIFICATE"], os.environ["KEY"])
client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
client_context.check_hostname = False
client_context.verify_mode = ssl.CERT_NONE
left, right = ssl.MemoryBIO(), ssl.MemoryBIO()
client = client_context.wrap_bio(left, right)
server = server_context.wrap_bio(right, left, server_side=True)
waiting = [client, server]
while waiting:
    for session in list(waiting):
        try:
            session.do_handshake()
            waiting.remove(session)
        except ssl.SSLWantReadError:
            pass

message = b"x" * 200
for _ in sys.stdin:
    began = time.perf_counter_ns()
    for _ in range(REQUESTS):
        client.write(message)
        server.read(1000)
        server.write(message)
        client.read(1000)
    print((time.perf_counter_ns() - began) / REQUESTS, flush=True)
