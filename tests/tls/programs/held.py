# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Threads that wait inside a read: told to go they ask, and are answered when the program is told to go again."""

import http.client
import sys
import threading

import common

THREADS = int(sys.argv[1])


class Held(common.Echo):
    asked = threading.Semaphore(0)
    answers = threading.Event()

    def do_GET(self):
        Held.asked.release()
        Held.answers.wait()
        super().do_GET()


def main():
    server = common.Server(Held)
    context = common.client_context()
    connections = [http.client.HTTPSConnection("127.0.0.1", server.port, context=context) for _ in range(THREADS)]
    waiting, failures = [], []

    def talk(connection, path):
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != 200 or answer.read() != path.encode():
            failures.append(path)

    def work(round):
        if not waiting:
            Held.answers.clear()
            for number, connection in enumerate(connections):
                path = f"/held/{round}/{number}"
                waiting.append((path, threading.Thread(target=talk, args=(connection, path))))
            for _, thread in waiting:
                thread.start()
            for _ in waiting:
                Held.asked.acquire()
            return []
        Held.answers.set()
        for _, thread in waiting:
            thread.join()
        if failures:
            sys.exit(f"wrong answers to {failures}")
        paths = [path for path, _ in waiting]
        waiting.clear()
        return paths

    common.obey(server.port, work)


main()
