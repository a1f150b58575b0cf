# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Clients with the OpenSSL that a wheel has brought along, by calls of C; a server with Python's own. The arguments are the
folders that libraries lie in, one for each client."""

import ctypes
import glob
import os
import socket
import sys

import common

REQUESTS = 5


def load(folder):
    (library,) = glob.glob(os.path.join(folder, "libssl-*"))
    # OpenSSL 1.0.2 has it under this name, and 1.1 keeps that for those who ask for it in C.
    method = "SSLv23_client_method" if "1.0.2" in library else "TLS_client_method"
    library = ctypes.CDLL(library)
    for function, result, arguments in [
        (method, ctypes.c_void_p, []),
        ("SSL_CTX_new", ctypes.c_void_p, [ctypes.c_void_p]),
        ("SSL_new", ctypes.c_void_p, [ctypes.c_void_p]),
        ("SSL_set_fd", ctypes.c_int, [ctypes.c_void_p, ctypes.c_int]),
        ("SSL_connect", ctypes.c_int, [ctypes.c_void_p]),
        ("SSL_write", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]),
        ("SSL_read", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]),
        ("SSL_free", None, [ctypes.c_void_p]),
    ]:
        getattr(library, function).restype, getattr(library, function).argtypes = result, arguments
    # 1.0.2 does nothing without it, and 1.1 has it no more.
    getattr(library, "SSL_library_init", int)()
    return library, library.SSL_CTX_new(getattr(library, method)())


def main():
    clients, server = [load(folder) for folder in sys.argv[1:]], common.Server()

    def talk(library, context, paths):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            session = library.SSL_new(context)
            library.SSL_set_fd(session, connection.fileno())
            assert library.SSL_connect(session) == 1
            for path in paths:
                request = common.request(server.port, path)
                assert library.SSL_write(session, request, len(request)) == len(request)
                answer, buffer = b"", ctypes.create_string_buffer(4096)
                while not common.is_whole(answer, path):
                    length = library.SSL_read(session, buffer, len(buffer))
                    assert length > 0
                    answer += buffer.raw[:length]
                common.check(path, answer)
            library.SSL_free(session)

    def work(round):
        asked = []
        for number, client in enumerate(clients):
            paths = [f"/bundled/{round}/{number}/{index}" for index in range(REQUESTS)]
            talk(*client, paths)
            asked += paths
        return asked

    common.obey(server.port, work)


main()
