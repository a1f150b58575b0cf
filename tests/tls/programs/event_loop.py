# SPDX-License-Identifier: Apache-2.0 OR MIT
"""asyncio on both ends: many sessions on one thread, which carries their records itself."""

import asyncio
import sys

import common

SESSIONS, REQUESTS = int(sys.argv[1]), int(sys.argv[2])


async def answer(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def talk(port, context, round, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    paths = []
    for index in range(REQUESTS):
        path = f"/loop/{round}/{number}/{index}"
        writer.write(common.request(port, path))
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(len(path))
        common.check(path, head + body)
        paths.append(path)
    writer.close()
    return paths


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=common.server_context(), backlog=256)
    port = server.sockets[0].getsockname()[1]
    print(f"ready {port}", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        round = next(common.ROUNDS)
        context = common.client_context()
        for paths in await asyncio.gather(*(talk(port, context, round, number) for number in range(SESSIONS))):
            print("\n".join(paths))
        print(flush=True)


asyncio.run(main())
