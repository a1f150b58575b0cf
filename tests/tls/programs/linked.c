// SPDX-License-Identifier: Apache-2.0 OR MIT

// A server and a client in one program, with an OpenSSL that is linked into it: what a static nginx is, in small. With LOADED it
// is a library on OpenSSL's, for a program that loads both: loaded.c.

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 5, REQUESTS = 5, BYTES = 4096 };

static void must(int is_true, const char *what) {
    if (!is_true) {
        fprintf(stderr, "%s\n", what);
        exit(1);
    }
}

// Reads up to the end of a head.
static int read_head(SSL *session, char *buffer) {
    int length = 0;
    while (length < BYTES - 1) {
        int more = SSL_read(session, buffer + length, BYTES - 1 - length);
        if (more <= 0) return 0;
        length += more;
        buffer[length] = 0;
        if (strstr(buffer, "\r\n\r\n")) return length;
    }
    return 0;
}

static SSL_CTX *server_context;

static void *answer(void *descriptor) {
    int socket = (int)(long)descriptor;
    SSL *session = SSL_new(server_context);
    SSL_set_fd(session, socket);
    must(SSL_accept(session) == 1, "no handshake");
    char request[BYTES];
    while (read_head(session, request)) {
        static const char response[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        must(SSL_write(session, response, sizeof response - 1) > 0, "no answer");
    }
    SSL_free(session);
    close(socket);
    return NULL;
}

static void *serve(void *listener) {
    for (;;) {
        pthread_t thread;
        long accepted = accept((int)(long)listener, NULL, NULL);
        must(accepted >= 0 && pthread_create(&thread, NULL, answer, (void *)accepted) == 0, "no connection");
        pthread_detach(thread);
    }
}

static void ask(SSL_CTX *context, const struct sockaddr_in *address, int round, int connection) {
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    must(connect(descriptor, (const struct sockaddr *)address, sizeof *address) == 0, "no server");
    SSL *session = SSL_new(context);
    SSL_set_fd(session, descriptor);
    must(SSL_connect(session) == 1, "no handshake");
    for (int number = 0; number < REQUESTS; number++) {
        char path[64], request[BYTES];
        snprintf(path, sizeof path, "/linked/%d/%d/%d", round, connection, number);
        int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", path,
                              ntohs(address->sin_port));
        must(SSL_write(session, request, length) == length && read_head(session, request), "no answer");
        puts(path);
    }
    SSL_free(session);
    close(descriptor);
}

static SSL_CTX *client_context;
static struct sockaddr_in address = {.sin_family = AF_INET};

// Begins to serve; gives the port.
int prepare(void) {
    server_context = SSL_CTX_new(TLS_server_method());
    must(SSL_CTX_use_certificate_file(server_context, getenv("CERTIFICATE"), SSL_FILETYPE_PEM) == 1, "no certificate");
    must(SSL_CTX_use_PrivateKey_file(server_context, getenv("KEY"), SSL_FILETYPE_PEM) == 1, "no key");
    client_context = SSL_CTX_new(TLS_client_method());

    int listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    must(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 64) == 0, "no listener");
    getsockname(listener, (struct sockaddr *)&address, &size);
    pthread_t server;
    must(pthread_create(&server, NULL, serve, (void *)(long)listener) == 0, "no thread");
    return ntohs(address.sin_port);
}

// Asks, and says for what.
void work(int round) {
    for (int connection = 0; connection < CONNECTIONS; connection++)
        ask(client_context, &address, round, connection);
}

#ifndef LOADED
int main(void) {
    printf("ready %d\n", prepare());
    fflush(stdout);
    char order[16];
    for (int round = 0; fgets(order, sizeof order, stdin); round++) {
        work(round);
        puts("");
        fflush(stdout);
    }
    return 0;
}
#endif
