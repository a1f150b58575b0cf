# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Loads a library, speaks through it and unloads it, again and again; its path is the argument."""

import _ctypes
import ctypes
import socket
import sys
import threading

import common

REQUESTS = 4


def load():
    library = ctypes.CDLL(sys.argv[1])
    library.SSL_new.restype, library.SSL_new.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    library.SSL_set_fd.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.SSL_write.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.SSL_read.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.SSL_free.argtypes = [ctypes.c_void_p]
    return library


def serve(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(4096):
                path = data.split()[1]
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    threading.Thread(target=serve, args=(listener,), daemon=True).start()

    def work(round):
        paths = [f"/unloaded/{round}/{number}" for number in range(REQUESTS)]
        for path in paths:
            library = load()
            with socket.create_connection(("127.0.0.1", port)) as connection:
                session = library.SSL_new(None)
                library.SSL_set_fd(session, connection.fileno())
                request = common.request(port, path)
                assert library.SSL_write(session, request, len(request)) == len(request)
                buffer = ctypes.create_string_buffer(4096)
                length = library.SSL_read(session, buffer, len(buffer))
                common.check(path, buffer.raw[:length])
                library.SSL_free(session)
            _ctypes.dlclose(library._handle)
        with open("/proc/self/maps") as maps:
            assert sys.argv[1] not in maps.read(), "the library is still there"
        return paths

    common.obey(port, work)


main()
