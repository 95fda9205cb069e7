/* A process as a board: the harness over standard input and output, on Linux (a Raspberry Pi, a
 * phone, this computer). It ends with 0 when its input ends, and with 1 when nobody reads its
 * answers any more.
 */
#define _POSIX_C_SOURCE 200809L
#include "board.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#if defined(__aarch64__)
#define ARCH "aarch64"
#elif defined(__arm__)
#define ARCH "armv7"
#elif defined(__x86_64__)
#define ARCH "x86_64"
#else
#define ARCH "unknown"
#endif

#define FOREVER (-1)

static uint8_t received[65536];
static size_t received_count, received_taken;

/* The harness writes a few bytes at once. They are on their way when it next asks for some. */
static char answers[65536];
static size_t answers_count;

/* --- The line ----------------------------------------------------------------------------- */

static void wait_for(int descriptor, short event) {
    struct pollfd wanted = {descriptor, event, 0};
    poll(&wanted, 1, FOREVER);
}

static void flush(void) {
    const char* next = answers;
    while (answers_count > 0) {
        ssize_t count = write(STDOUT_FILENO, next, answers_count);
        if (count >= 0) {
            next += count;
            answers_count -= (size_t)count;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            wait_for(STDOUT_FILENO, POLLOUT);
        } else if (errno != EINTR) {
            _exit(EXIT_FAILURE);
        }
    }
}

void eq_board_write(void* context, const char* bytes, size_t count) {
    (void)context;
    while (count > 0) {
        size_t room = sizeof answers - answers_count;
        size_t part = count < room ? count : room;
        memcpy(answers + answers_count, bytes, part);
        answers_count += part;
        bytes += part;
        count -= part;
        if (answers_count == sizeof answers) {
            flush();
        }
    }
}

static int board_read(void* context) {
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    ssize_t count;
    (void)context;
    if (received_taken < received_count) {
        return received[received_taken++];
    }
    flush();
    if (poll(&input, 1, 0) <= 0) {
        return EQ_PORT_EMPTY;
    }
    count = read(STDIN_FILENO, received, sizeof received);
    if (count < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)) {
        return EQ_PORT_EMPTY;
    }
    if (count <= 0) {
        return EQ_PORT_CLOSED;
    }
    received_count = (size_t)count;
    received_taken = 1;
    return received[0];
}

/* `read` found nothing, so all answers are on their way. */
static void board_idle(void* context) {
    (void)context;
    wait_for(STDIN_FILENO, POLLIN);
}

/* --- The clock ---------------------------------------------------------------------------- */

/* Not CLOCK_MONOTONIC, whose seconds NTP makes longer and shorter. */
static uint64_t board_ticks(void* context) {
    struct timespec now;
    (void)context;
    clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- Memory ------------------------------------------------------------------------------- */

/* Bytes of RAM that the process held at most, 0 where the kernel does not tell. */
static uint32_t most_resident(void) {
    static const char name[] = "VmHWM:";
    char text[4096];
    const char* found;
    ssize_t count;
    int file = open("/proc/self/status", O_RDONLY);
    if (file < 0) {
        return 0;
    }
    count = read(file, text, sizeof text - 1);
    close(file);
    text[count > 0 ? count : 0] = '\0';
    found = strstr(text, name);
    return found == NULL ? 0 : (uint32_t)strtoul(found + sizeof name - 1, NULL, 10) * 1024;
}

/* The program's variables, by its own headers. A computer has no flash to speak of. */
static void board_memory(void* context, eq_memory_t* memory) {
    const ElfW(Phdr)* header = (const ElfW(Phdr)*)getauxval(AT_PHDR);
    unsigned long count = header == NULL ? 0 : getauxval(AT_PHNUM);
    (void)context;
    memory->ram_used = most_resident();
    for (; count > 0; count--, header++) {
        if (header->p_type == PT_LOAD && (header->p_flags & PF_W) != 0) {
            memory->data += (uint32_t)header->p_filesz;
            memory->bss += (uint32_t)(header->p_memsz - header->p_filesz);
        }
    }
}

/* --- Start -------------------------------------------------------------------------------- */

static const eq_port_t port = {
    .board = "posix " ARCH,
    .tick_source = "clock_monotonic_raw",
    .tick_unit = "ns",
    .tick_hz = 1000000000u,
    .tick_bits = 64,
    .ticks = board_ticks,
    .read = board_read,
    .write = eq_board_write,
    .idle = board_idle,
    .memory = board_memory,
};

const eq_port_t* eq_board_start(void) {
    signal(SIGPIPE, SIG_IGN); /* `write` says that nobody reads */
    atexit(flush);
    return &port;
}
