# SPDX-License-Identifier: Apache-2.0 OR MIT
"""uvicorn answers each path with itself; requests asks from threads, and httpx from an event loop."""

import asyncio
import concurrent.futures
import os
import socket
import threading
import warnings

import httpx
import requests
import uvicorn

import common

TASKS, REQUESTS = 10, 4


async def answer(scope, receive, send):
    if scope["type"] != "http":
        return
    body = scope["path"].encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve():
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    config = uvicorn.Config(
        answer,
        log_level="error",
        lifespan="off",
        ssl_certfile=os.environ["CERTIFICATE"],
        ssl_keyfile=os.environ["KEY"],
    )
    threading.Thread(target=uvicorn.Server(config).run, args=([listener],), daemon=True).start()
    return listener.getsockname()[1]


def with_requests(port, round):
    def talk(task):
        paths = [f"/requests/{round}/{task}/{index}" for index in range(REQUESTS)]
        with requests.Session() as session:
            for path in paths:
                assert session.get(f"https://127.0.0.1:{port}{path}", verify=False).text == path
        return paths

    with concurrent.futures.ThreadPoolExecutor(TASKS) as pool:
        return [path for paths in pool.map(talk, range(TASKS)) for path in paths]


async def with_httpx(port, round):
    async def talk(task):
        paths = [f"/httpx/{round}/{task}/{index}" for index in range(REQUESTS)]
        async with httpx.AsyncClient(verify=False) as client:
            for path in paths:
                assert (await client.get(f"https://127.0.0.1:{port}{path}")).text == path
        return paths

    return [path for paths in await asyncio.gather(*map(talk, range(TASKS))) for path in paths]


def main():
    warnings.simplefilter("ignore")
    port = serve()
    common.obey(port, lambda round: with_requests(port, round) + asyncio.run(with_httpx(port, round)))


main()
