// SPDX-License-Identifier: Apache-2.0 OR MIT

// A library that has OpenSSL's functions and encrypts nothing: what is given to it goes to the socket as it is. It can be
// unloaded, which OpenSSL itself cannot.

#include <stdlib.h>
#include <sys/socket.h>

typedef struct {
    int descriptor;
} SSL;

SSL *SSL_new(void *context) {
    (void)context;
    return calloc(1, sizeof(SSL));
}

int SSL_set_fd(SSL *session, int descriptor) {
    session->descriptor = descriptor;
    return 1;
}

int SSL_read(SSL *session, void *buffer, int bytes) {
    return recv(session->descriptor, buffer, bytes, 0);
}

int SSL_write(SSL *session, const void *buffer, int bytes) {
    return send(session->descriptor, buffer, bytes, 0);
}

void SSL_free(SSL *session) {
    free(session);
}
