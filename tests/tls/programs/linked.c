// SPDX-License-Identifier: Apache-2.0 OR MIT

// A server and a client in one program, with an OpenSSL that is linked into it: what a static nginx is, in small. With LOADED it
// is a library on OpenSSL's, for a program that loads both: loaded.c. With CARRIED its sessions have no sockets: they read from
// memory and write to it, and what lies there is carried by hand, as .NET's streams do.

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

static void attach(SSL *session, int socket) {
#ifdef CARRIED
    SSL_set_app_data(session, (void *)(long)socket);
    SSL_set_bio(session, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
#else
    SSL_set_fd(session, socket);
#endif
}

// Whether a call that has given this is to be made again.
static int again(SSL *session, int result) {
#ifdef CARRIED
    char records[1 << 15];
    int waits = result <= 0 && SSL_get_error(session, result) == SSL_ERROR_WANT_READ;
    int socket = (int)(long)SSL_get_app_data(session), length;
    while ((length = BIO_read(SSL_get_wbio(session), records, sizeof records)) > 0)
        must(send(socket, records, length, MSG_NOSIGNAL) == length, "nobody to send to");
    if (!waits || (length = recv(socket, records, sizeof records, 0)) <= 0) return 0;
    return BIO_write(SSL_get_rbio(session), records, length) == length;
#else
    (void)session, (void)result;
    return 0;
#endif
}

static int shake_hands(SSL *session, int (*shake)(SSL *)) {
    int result;
    do result = shake(session);
    while (again(session, result));
    return result == 1;
}

static int say(SSL *session, const char *text, int length) {
    int result = SSL_write(session, text, length);
    return !again(session, result) && result == length;
}

// Reads up to the end of a head.
static int read_head(SSL *session, char *buffer) {
    int length = 0;
    while (length < BYTES - 1) {
        int more;
        do more = SSL_read(session, buffer + length, BYTES - 1 - length);
        while (again(session, more));
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
    attach(session, socket);
    must(shake_hands(session, SSL_accept), "no handshake");
    char request[BYTES];
    while (read_head(session, request)) {
        static const char response[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        must(say(session, response, sizeof response - 1), "no answer");
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
    attach(session, descriptor);
    must(shake_hands(session, SSL_connect), "no handshake");
    for (int number = 0; number < REQUESTS; number++) {
        char path[64], request[BYTES];
        snprintf(path, sizeof path, "/linked/%d/%d/%d", round, connection, number);
        int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", path,
                              ntohs(address->sin_port));
        must(say(session, request, length) && read_head(session, request), "no answer");
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
