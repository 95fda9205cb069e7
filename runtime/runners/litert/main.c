/* Serves a .tflite in LiteRT on standard input and output: the harness and the posix board around
 * LiteRT's C API.
 *
 *   litert-runner LIBRARY MODEL TARGET [--name NAME] [--threads N] [--kernels xnnpack|builtin]
 *
 * An inference that is timed is one LiteRtRunCompiledModel. The arena is LiteRT's own buffers, so
 * that neither inputs nor outputs are copied within it, or by us at all after the inputs' own copy
 * that the harness makes before every inference.
 */
#define _POSIX_C_SOURCE 200809L
#include "board.h"
#include "hush.h"
#include "network.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS_LIMIT 512
#define FILE_LIMIT ((size_t)1 << 31)
#define LINE_SIZE 4096
#define TICK_COUNT 1024
#define COUNT_LIMIT_MS 5000 /* for LiteRT to start and infer, only to count operators */

static const char usage[] = "usage: litert-runner LIBRARY MODEL TARGET [--name NAME] [--threads N] "
                            "[--kernels xnnpack|builtin]\n";

static eq_harness_t harness;
static eq_harness_config_t config;
static uint64_t ticks[TICK_COUNT];
static char line[LINE_SIZE];

/* --- Arguments ---------------------------------------------------------------------------- */

typedef struct {
    const char* library;
    const char* model;
    const char* target;
    const char* name;
    network_options_t network;
} arguments_t;

static bool take_option(arguments_t* arguments, const char* option, const char* value) {
    if (strcmp(option, "--name") == 0) {
        arguments->name = value;
        return true;
    }
    if (strcmp(option, "--threads") == 0) {
        char* end;
        long threads = strtol(value, &end, 10);
        arguments->network.threads = (int)threads;
        return end != value && *end == '\0' && threads >= 1 && threads <= THREADS_LIMIT;
    }
    if (strcmp(option, "--kernels") == 0) {
        arguments->network.xnnpack = strcmp(value, "xnnpack") == 0;
        return arguments->network.xnnpack || strcmp(value, "builtin") == 0;
    }
    return false;
}

static bool take_arguments(arguments_t* arguments, int count, char** words) {
    if (count < 4 || count % 2 != 0) {
        return false;
    }
    arguments->library = words[1];
    arguments->model = words[2];
    arguments->target = words[3];
    for (int i = 4; i < count; i += 2) {
        if (!take_option(arguments, words[i], words[i + 1])) {
            return false;
        }
    }
    return true;
}

/* --- Files -------------------------------------------------------------------------------- */

static int complain(const char* where, const char* what) {
    fprintf(stderr, "litert-runner: %.300s: %s\n", where, what);
    return EXIT_FAILURE;
}

/* All bytes of a file; null and errno when it cannot be read. */
static uint8_t* read_whole(const char* path, size_t* count) {
    struct stat facts;
    uint8_t* bytes;
    FILE* file = fopen(path, "rb");
    if (file == NULL) {
        return NULL;
    }
    if (fstat(fileno(file), &facts) != 0 || !S_ISREG(facts.st_mode) || facts.st_size <= 0 ||
        (size_t)facts.st_size > FILE_LIMIT || (bytes = malloc((size_t)facts.st_size)) == NULL) {
        fclose(file);
        errno = EINVAL;
        return NULL;
    }
    *count = fread(bytes, 1, (size_t)facts.st_size, file);
    fclose(file);
    if (*count != (size_t)facts.st_size) {
        free(bytes);
        errno = EIO;
        return NULL;
    }
    return bytes;
}

/* --- Counting operators ------------------------------------------------------------------- */

/* In a process of its own: a profile slows inferences down, and must not end this one. */
static bool count_operators(const arguments_t* arguments, const uint8_t* bytes, size_t size,
                            int counts[2]) {
    int ends[2];
    bool known = false;
    struct pollfd wanted;
    pid_t child;
    if (pipe(ends) != 0) {
        return false;
    }
    child = fork();
    if (child == 0) {
        char text[400];
        network_t network = {{0}, NULL, 0};
        network_options_t options = arguments->network;
        int nothing = open("/dev/null", O_RDWR);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        options.profile = true;
        dup2(nothing, STDIN_FILENO);
        dup2(nothing, STDOUT_FILENO);
        dup2(nothing, STDERR_FILENO);
        if (network_open(&network, arguments->library, "", bytes, size, &options, text,
                         sizeof text) &&
            network_count(&network, &counts[0], &counts[1])) {
            known = write(ends[1], counts, 2 * sizeof *counts) > 0;
        }
        _exit(known ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    close(ends[1]);
    wanted.fd = ends[0];
    wanted.events = POLLIN;
    if (child > 0) {
        known = poll(&wanted, 1, COUNT_LIMIT_MS) > 0 &&
                read(ends[0], counts, 2 * sizeof *counts) == (ssize_t)(2 * sizeof *counts);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    close(ends[0]);
    return known;
}

/* --- Start -------------------------------------------------------------------------------- */

static size_t inputs_size(const eq_model_t* model) {
    size_t size = 0;
    for (uint16_t i = 0; i < model->input_count; i++) {
        size += model->inputs[i].bytes;
    }
    return size;
}

int main(int count, char** words) {
    static network_t network;
    static eq_fact_t facts[5];
    static char threads[12], operators[12], delegated[12];
    arguments_t arguments = {NULL, NULL, NULL, "model", {1, true, false}};
    char text[400] = "", reason[400];
    int counts[2];
    size_t size, fact_count = 0;
    uint8_t* bytes;
    eq_hush_t hush;
    bool opened;
    if (!take_arguments(&arguments, count, words)) {
        fputs(usage, stderr);
        return 2;
    }
    bytes = read_whole(arguments.model, &size);
    if (bytes == NULL) {
        return complain(arguments.model, strerror(errno));
    }
    facts[fact_count++] = (eq_fact_t){"kernels", arguments.network.xnnpack ? "xnnpack" : "builtin"};
    snprintf(threads, sizeof threads, "%d", arguments.network.threads);
    facts[fact_count++] = (eq_fact_t){"threads", threads};
    if (count_operators(&arguments, bytes, size, counts)) {
        snprintf(operators, sizeof operators, "%d", counts[0]);
        snprintf(delegated, sizeof delegated, "%d", counts[1]);
        facts[fact_count++] = (eq_fact_t){"operators", operators};
        facts[fact_count++] = (eq_fact_t){"delegated", delegated};
    }
    hush = eq_hush_begin();
    opened = network_open(&network, arguments.library, arguments.name, bytes, size,
                          &arguments.network, text, sizeof text);
    eq_hush_end(hush, reason, sizeof reason);
    if (!opened) {
        bool loaded = strncmp(text, "LiteRT", 6) == 0;
        strncat(text, reason, sizeof text - strlen(text) - 1);
        return complain(loaded ? arguments.model : arguments.library, text);
    }
    config.port = eq_board_start();
    config.model = &network.model;
    config.input = &eq_input_raw;
    config.engine = "litert";
    config.target = arguments.target;
    config.vendor = "edgeq";
    config.benchmark = "none";
    config.arena = network.arena;
    config.arena_size = network.arena_size;
    config.inputs_size = inputs_size(&network.model);
    config.inputs = calloc(config.inputs_size + 1, 1);
    config.line = line;
    config.line_size = sizeof line;
    config.ticks = ticks;
    config.tick_count = TICK_COUNT;
    config.facts = facts;
    config.fact_count = fact_count;
    if (config.inputs == NULL) {
        return complain(arguments.model, "out of memory");
    }
    eq_harness_start(&harness, &config);
    eq_harness_serve(&harness);
    return harness.status == EQ_HARNESS_CONFIG;
}
