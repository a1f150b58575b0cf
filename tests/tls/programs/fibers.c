// SPDX-License-Identifier: Apache-2.0 OR MIT

// A server and a client on stacks of their own, all on one thread: what waits for bytes inside a call to the library gives way to
// the others, who are inside such calls themselves. So do Crystal, D's vibe, and servers of C++ with coroutines.

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <ucontext.h>
#include <unistd.h>

enum { CONNECTIONS = 12, REQUESTS = 6, BYTES = 4096, STACK = 256 << 10, FIBERS = 4096 };

struct fiber {
    ucontext_t context;
    int socket, round, number, is_done;
};

static struct fiber *fibers[FIBERS], *running;
static int fiber_count;
static ucontext_t scheduler;
static SSL_CTX *contexts[2];
static BIO_METHOD *method;
static struct sockaddr_in address = {.sin_family = AF_INET};

static void must(int is_true, const char *what) {
    if (!is_true) {
        fprintf(stderr, "%s\n", what);
        exit(1);
    }
}

static void give_way(void) {
    swapcontext(&running->context, &scheduler);
}

static int read_socket(BIO *bio, char *buffer, int bytes) {
    int socket = (int)(long)BIO_get_data(bio);
    ssize_t length;
    do give_way();
    while ((length = recv(socket, buffer, bytes, MSG_DONTWAIT)) < 0 && errno == EAGAIN);
    return (int)length;
}

static int write_socket(BIO *bio, const char *buffer, int bytes) {
    give_way();
    return (int)send((int)(long)BIO_get_data(bio), buffer, bytes, MSG_NOSIGNAL);
}

static long control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static SSL *session_on(int socket, int is_client) {
    BIO *bio = BIO_new(method);
    BIO_set_data(bio, (void *)(long)socket);
    BIO_set_init(bio, 1);
    SSL *session = SSL_new(contexts[is_client]);
    SSL_set_bio(session, bio, bio);
    must((is_client ? SSL_connect : SSL_accept)(session) == 1, "no handshake");
    return session;
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

static void over(SSL *session) {
    SSL_free(session);
    close(running->socket);
    running->is_done = 1;
    give_way();
}

static void answer(void) {
    SSL *session = session_on(running->socket, 0);
    char request[BYTES], response[BYTES];
    while (read_head(session, request)) {
        // It says what it was asked for: an answer that goes astray is seen.
        int asked = (int)strcspn(request + 4, " ");
        int length = snprintf(response, sizeof response, "HTTP/1.1 200 OK\r\nX-Path: %.*s\r\nContent-Length: 0\r\n\r\n",
                              asked, request + 4);
        must(SSL_write(session, response, length) == length, "no answer");
    }
    over(session);
}

static void ask(void) {
    SSL *session = session_on(running->socket, 1);
    for (int number = 0; number < REQUESTS; number++) {
        char path[64], request[BYTES];
        snprintf(path, sizeof path, "/fibers/%d/%d/%d", running->round, running->number, number);
        int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", path,
                              ntohs(address.sin_port));
        must(SSL_write(session, request, length) == length && read_head(session, request), "no answer");
        must(strstr(request, path) != NULL, "another one's answer");
        puts(path);
    }
    over(session);
}

static struct fiber *start(void (*run)(void), int socket, int round, int number) {
    must(fiber_count < FIBERS, "too many");
    struct fiber *fiber = calloc(1, sizeof *fiber);
    *fiber = (struct fiber){.socket = socket, .round = round, .number = number};
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp =
        mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    fiber->context.uc_stack.ss_size = STACK;
    makecontext(&fiber->context, run, 0);
    return fibers[fiber_count++] = fiber;
}

// One after the other in an order that changes, so that calls end in another one than they began in.
static int turn(void) {
    static int passes;
    int left = 0, first = passes++ * 7;
    for (int index = 0; index < fiber_count; index++) {
        running = fibers[(first + index * (passes % 2 ? 1 : fiber_count - 1)) % fiber_count];
        if (!running->is_done) swapcontext(&scheduler, &running->context);
        left += !running->is_done;
    }
    return left;
}

int main(void) {
    method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "fibers");
    BIO_meth_set_read(method, read_socket);
    BIO_meth_set_write(method, write_socket);
    BIO_meth_set_ctrl(method, control);
    contexts[0] = SSL_CTX_new(TLS_server_method());
    contexts[1] = SSL_CTX_new(TLS_client_method());
    must(SSL_CTX_use_certificate_file(contexts[0], getenv("CERTIFICATE"), SSL_FILETYPE_PEM) == 1, "no certificate");
    must(SSL_CTX_use_PrivateKey_file(contexts[0], getenv("KEY"), SSL_FILETYPE_PEM) == 1, "no key");

    int listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    must(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 64) == 0, "no listener");
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("ready %d\n", ntohs(address.sin_port));
    fflush(stdout);

    char order[16];
    for (int round = 0; fgets(order, sizeof order, stdin); round++) {
        fiber_count = 0;
        for (int number = 0; number < CONNECTIONS; number++) {
            int descriptor = socket(AF_INET, SOCK_STREAM, 0);
            must(connect(descriptor, (struct sockaddr *)&address, size) == 0, "no server");
            start(ask, descriptor, round, number);
            start(answer, accept(listener, NULL, NULL), round, number);
        }
        while (turn());
        for (int index = 0; index < fiber_count; index++) {
            munmap(fibers[index]->context.uc_stack.ss_sp, STACK);
            free(fibers[index]);
        }
        puts("");
        fflush(stdout);
    }
    return 0;
}
