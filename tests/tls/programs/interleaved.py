# SPDX-License-Identifier: Apache-2.0 OR MIT
"""One thread, two connections to two servers: written in turns byte by byte, and read so as well."""

import socket

import common


def connect(port, context):
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port)))


def main():
    servers = [common.Server(), common.Server()]
    context = common.client_context()
    connections = []

    def work(round):
        if not connections:
            connections.extend(connect(server.port, context) for server in servers)
        paths = []
        for index in range(3):
            own = [f"/interleaved/{round}/{index}/{name}" for name in ("left", "right")]
            messages = [common.request(server.port, path) for server, path in zip(servers, own)]
            for at in range(max(map(len, messages))):
                for connection, message in zip(connections, messages):
                    if at < len(message):
                        connection.sendall(message[at : at + 1])
            answers = [bytearray(), bytearray()]
            while not all(map(common.is_whole, answers, own)):
                for connection, answer, path in zip(connections, answers, own):
                    if not common.is_whole(answer, path):
                        answer += connection.recv(1)
            for path, answer in zip(own, answers):
                common.check(path, answer)
            paths += own
        return paths

    common.obey(servers[0].port, work)


main()
