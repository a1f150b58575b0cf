# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A client with the OpenSSL that a wheel has brought along, by calls of C; a server with Python's own."""

import ctypes
import glob
import importlib.util
import os
import socket

import common

REQUESTS = 5


def load():
    package = importlib.util.find_spec("psycopg2").submodule_search_locations[0]
    libraries = os.path.join(os.path.dirname(package), "psycopg2_binary.libs")
    # The one needs the other, by a name that only the wheel's own module knows where to look for.
    crypto, library = (glob.glob(os.path.join(libraries, name))[0] for name in ("libcrypto-*", "libssl-*"))
    ctypes.CDLL(crypto, ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(library)
    for function, result, arguments in [
        ("TLS_client_method", ctypes.c_void_p, []),
        ("SSL_CTX_new", ctypes.c_void_p, [ctypes.c_void_p]),
        ("SSL_new", ctypes.c_void_p, [ctypes.c_void_p]),
        ("SSL_set_fd", ctypes.c_int, [ctypes.c_void_p, ctypes.c_int]),
        ("SSL_connect", ctypes.c_int, [ctypes.c_void_p]),
        ("SSL_write", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]),
        ("SSL_read", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]),
        ("SSL_free", None, [ctypes.c_void_p]),
    ]:
        getattr(library, function).restype, getattr(library, function).argtypes = result, arguments
    return library


def main():
    library, server = load(), common.Server()
    context = library.SSL_CTX_new(library.TLS_client_method())

    def work(round):
        paths = [f"/bundled/{round}/{number}" for number in range(REQUESTS)]
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
        return paths

    common.obey(server.port, work)


main()
