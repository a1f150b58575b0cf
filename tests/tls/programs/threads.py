# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Threads, each with a connection of its own, half of them with one for each request."""

import http.client
import sys
import threading

import common

THREADS, REQUESTS = int(sys.argv[1]), int(sys.argv[2])


def main():
    server = common.Server()
    context = common.client_context()

    def work(round):
        paths, failures = [], []

        def talk(number):
            connection = None
            for index in range(REQUESTS):
                path = f"/threads/{round}/{number}/{index}"
                if connection is None:
                    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context)
                connection.request("GET", path)
                answer = connection.getresponse()
                if answer.status != 200 or answer.read() != path.encode():
                    failures.append(path)
                paths.append(path)
                if number % 2:
                    connection.close()
                    connection = None
            if connection:
                connection.close()

        threads = [threading.Thread(target=talk, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            sys.exit(f"wrong answers to {failures}")
        return paths

    common.obey(server.port, work)


main()
