# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A client with the OpenSSL that a wheel has brought along, by calls of C; a server with Python's own. The argument is the
folder that its libraries lie in."""

import ctypes
import glob
import os
import socket
import sys

import common

REQUESTS = 5
# OpenSSL 1.0.2 has it under this name, and 1.1 keeps that for those who ask for it in C.
METHOD = "SSLv23_client_method" if "1.0.2" in "".join(os.listdir(sys.argv[1])) else "TLS_client_method"


def load():
    crypto, library = (glob.glob(os.path.join(sys.argv[1], name))[0] for name in ("libcrypto-*", "libssl-*"))
    ctypes.CDLL(crypto, ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(library)
    for function, result, arguments in [
        (METHOD, ctypes.c_void_p, []),
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
    return library


def main():
    library, server = load(), common.Server()
    context = library.SSL_CTX_new(getattr(library, METHOD)())

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
