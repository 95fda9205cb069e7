#define _POSIX_C_SOURCE 200809L
#include "hush.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

eq_hush_t eq_hush_begin(void) {
    eq_hush_t hush = {-1, -1};
    int ends[2];
    if (pipe(ends) != 0) {
        return hush;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    fflush(stderr);
    hush.saved = dup(STDERR_FILENO);
    hush.read_end = ends[0];
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    return hush;
}

void eq_hush_end(eq_hush_t hush, char* reason, size_t room) {
    static char said[65536];
    ssize_t count;
    reason[0] = '\0';
    if (hush.saved < 0) {
        return;
    }
    fflush(stderr);
    dup2(hush.saved, STDERR_FILENO);
    close(hush.saved);
    clearerr(stderr);
    count = read(hush.read_end, said, sizeof said - 1);
    close(hush.read_end);
    said[count > 0 ? count : 0] = '\0';
    for (char* next = said; next != NULL && *next != '\0';) {
        char* end = strchr(next, '\n');
        if (end != NULL) {
            *end++ = '\0';
        }
        if (strncmp(next, "ERROR: ", 7) == 0) {
            snprintf(reason, room, ": %s", next + 7);
        }
        next = end;
    }
}
