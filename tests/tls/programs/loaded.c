// SPDX-License-Identifier: Apache-2.0 OR MIT

// A program without TLS that loads it when it is told to for the first time, and speaks when it is told to again: its argument
// is linked.c as a library.

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void *must(void *found) {
    if (!found) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return found;
}

int main(int count, char **arguments) {
    (void)count;
    puts("ready 0");
    fflush(stdout);
    void (*work)(int) = NULL;
    char order[16];
    for (int round = 0; fgets(order, sizeof order, stdin); round++) {
        if (work) {
            work(round);
        } else {
            void *library = must(dlopen(arguments[1], RTLD_NOW));
            int (*prepare)(void) = (int (*)(void))must(dlsym(library, "prepare"));
            work = (void (*)(int))must(dlsym(library, "work"));
            prepare();
        }
        puts("");
        fflush(stdout);
    }
    return 0;
}
