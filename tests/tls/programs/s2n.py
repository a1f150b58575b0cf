# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Clients with the s2n-tls of Amazon's common runtime, on its event loop; a server with Python's own OpenSSL."""

from awscrt import http, io

import common

CONNECTIONS, REQUESTS = 4, 4


class Answer:
    def __init__(self):
        self.status, self.body = 0, b""

    def on_response(self, http_stream, status_code, headers, **_):
        self.status = status_code

    def on_body(self, http_stream, chunk, **_):
        self.body += chunk


def main():
    server = common.Server()
    loops = io.EventLoopGroup(1)
    bootstrap = io.ClientBootstrap(loops, io.DefaultHostResolver(loops))
    options = io.TlsContextOptions()
    options.verify_peer = False
    context = io.ClientTlsContext(options)

    def connect():
        return http.HttpClientConnection.new(
            "127.0.0.1", server.port, bootstrap, tls_connection_options=context.new_connection_options()
        )

    def ask(connection, path):
        answer = Answer()
        headers = http.HttpHeaders([("host", f"127.0.0.1:{server.port}")])
        stream = connection.request(http.HttpRequest("GET", path, headers), answer.on_response, answer.on_body)
        stream.activate()
        return stream, answer

    def work(round):
        paths = []
        connections = [connecting.result(10) for connecting in [connect() for _ in range(CONNECTIONS)]]
        for index in range(REQUESTS):
            own = [f"/s2n/{round}/{number}/{index}" for number in range(CONNECTIONS)]
            # All of them at once, on one thread.
            asked = [ask(connection, path) for connection, path in zip(connections, own)]
            for path, (stream, answer) in zip(own, asked):
                stream.completion_future.result(10)
                assert answer.status == 200 and answer.body == path.encode(), f"{path} was answered with {answer.body}"
            paths += own
        for connection in connections:
            connection.close().result(10)
        return paths

    common.obey(server.port, work)


main()
