# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A client with the curl that is built on NSS, by calls of C; a server with Python's own OpenSSL."""

import ctypes
import sys

import common

CONNECTIONS, REQUESTS = 3, 4
# curl/curl.h
URL, WRITE_FUNCTION, VERIFY_PEER, VERIFY_HOST = 10002, 20011, 64, 81


def main():
    curl, server = ctypes.CDLL("libcurl-nss.so.4"), common.Server()
    curl.curl_easy_init.restype = ctypes.c_void_p
    receive_type = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p)
    body = bytearray()

    @receive_type
    def receive(data, size, count, _):
        body.extend(ctypes.string_at(data, size * count))
        return size * count

    def work(round):
        paths = []
        for connection in range(CONNECTIONS):
            handle = ctypes.c_void_p(curl.curl_easy_init())
            for option in (VERIFY_PEER, VERIFY_HOST):
                curl.curl_easy_setopt(handle, option, ctypes.c_long(0))
            curl.curl_easy_setopt(handle, WRITE_FUNCTION, receive)
            for index in range(REQUESTS):
                path = f"/nss/{round}/{connection}/{index}"
                url = f"https://127.0.0.1:{server.port}{path}".encode()
                curl.curl_easy_setopt(handle, URL, ctypes.c_char_p(url))
                body.clear()
                result = curl.curl_easy_perform(handle)
                if result != 0 or bytes(body) != path.encode():
                    sys.exit(f"{path} was answered with {bytes(body)!r}, {result}")
                paths.append(path)
            curl.curl_easy_cleanup(handle)
        return paths

    common.obey(server.port, work)


main()
