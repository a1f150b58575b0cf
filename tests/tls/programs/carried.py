# SPDX-License-Identifier: Apache-2.0 OR MIT
"""One thread, two sessions without sockets: what both have encrypted is sent in the other order, what comes is read late."""

import socket
import ssl

import common


class Session:
    def __init__(self, port, context):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing)

    def shake_hands(self):
        """True when it is done."""
        try:
            self.session.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    def send(self):
        data = self.outgoing.read()
        if data:
            self.socket.sendall(data)

    def receive(self):
        self.incoming.write(self.socket.recv(65536))

    def read(self):
        try:
            return self.session.read(1)
        except ssl.SSLWantReadError:
            return None


def main():
    servers = [common.Server(), common.Server()]
    context = common.client_context()

    def connect():
        sessions = [Session(server.port, context) for server in servers]
        waiting = list(sessions)
        while waiting:
            waiting = [session for session in waiting if not session.shake_hands()]
            for session in reversed(sessions):
                session.send()
            for session in waiting:
                session.receive()
        return sessions

    def work(round):
        sessions, paths = connect(), []
        for index in range(3):
            own = [f"/carried/{round}/{index}/{name}" for name in ("left", "right")]
            messages = [common.request(server.port, path) for server, path in zip(servers, own)]
            for at in range(max(map(len, messages))):
                for session, message in zip(sessions, messages):
                    if at < len(message):
                        session.session.write(message[at : at + 1])
                for session in reversed(sessions):
                    session.send()
            answers = [bytearray(), bytearray()]
            while not all(map(common.is_whole, answers, own)):
                for session, answer, path in zip(sessions, answers, own):
                    if common.is_whole(answer, path):
                        continue
                    byte = session.read()
                    if byte is None:
                        session.receive()
                    else:
                        answer += byte
            for path, answer in zip(own, answers):
                common.check(path, answer)
            paths += own
        for session in sessions:
            session.socket.close()
        return paths

    common.obey(servers[0].port, work)


main()
