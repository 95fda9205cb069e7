/* benchmark_model as the tests need it: flags, prints and files of the real one, made-up times.
 *
 * GOLDEN (a header of the test's) has SAMPLES, IN_BYTES, OUT_BYTES, golden_in, golden_out: the
 * "network" gives the output of the golden input that it was fed, and zeros for any other.
 * FLAVOUR_LITERT, FLAVOUR_OLD (before --output_filepath) and FAULT_* choose what it does. */
#define _POSIX_C_SOURCE 200809L
#include GOLDEN

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef FLAVOUR_OLD
#define INFO ""
#define WARN ""
#define ERROR ""
#else
#define INFO "INFO: "
#define WARN "WARN: "
#define ERROR "ERROR: "
#endif

static const char* const names[] = {
    "graph",
    "num_runs",
    "warmup_runs",
    "warmup_min_secs",
    "min_secs",
    "max_secs",
#ifndef FAULT_IGNORES
    "num_threads",
#endif
    "result_file_path",
#ifndef FLAVOUR_LITERT
    "input_layer",
    "input_layer_shape",
    "input_layer_value_files",
    "enable_op_profiling",
#ifdef FLAVOUR_OLD
    "profiling_output_csv_file",
#else
    "output_filepath",
    "op_profiling_output_mode",
    "op_profiling_output_file",
#endif
#endif
};
#define COUNT (sizeof names / sizeof names[0])
static const char* values[COUNT];

static const char* flag(const char* name) {
    for (size_t i = 0; i < COUNT; i++)
        if (!strcmp(names[i], name) && values[i])
            return values[i];
    return "";
}

static int fail(const char* text) {
    fprintf(stderr, ERROR "%s\n" ERROR "Benchmarking failed.\n", text);
    return 1;
}

#ifndef FLAVOUR_LITERT
static int items(const char* text, char separator) {
    int n = *text != 0;
    for (; *text; text++)
        n += *text == separator;
    return n;
}

/* The files of --input_layer_value_files, one behind the other; 0 when one is not as it must be. */
static int read_inputs(unsigned char* into) {
    char list[4096];
    size_t done = 0;
    snprintf(list, sizeof list, "%s", flag("input_layer_value_files"));
    for (char* item = strtok(list, ","); item; item = strtok(NULL, ",")) {
        char* colon = strchr(item, ':');
        FILE* f = colon ? fopen(colon + 1, "rb") : NULL;
        if (!f)
            return 0;
        done += fread(into + done, 1, IN_BYTES + 1 - done, f);
        fclose(f);
    }
    return done == IN_BYTES;
}
#endif

#ifndef FLAVOUR_OLD
static size_t real(unsigned char* at, int number, float value) {
    at[0] = (unsigned char)(number << 3 | 5);
    memcpy(at + 1, &value, 4);
    return 5;
}

static void write_result(const char* path, int runs) {
    unsigned char data[64] = {1 << 3 | 2, 4, 't', 'i', 'n', 'y', 2 << 3 | 2, 10};
    size_t n = 8;
    n += real(data + n, 1, 1.25f);
    n += real(data + n, 6, 1.2f);
    data[n++] = 3 << 3 | 2;
    data[n++] = 6;
    memcpy(data + n, "\x08\x80\x08\x10\x80\x10", 6);
    n += 6;
    data[n++] = 4 << 3 | 2;
    data[n++] = 2;
    data[n++] = 2 << 3;
#ifdef FAULT_CONTRADICTS
    runs++;
#endif
    data[n++] = (unsigned char)(runs & 127);
    FILE* f = fopen(path, "wb");
    if (!f)
        exit(fail("Failed to open the result file"));
    fwrite(data, 1, n, f);
    fclose(f);
}
#endif

static void print_stat(int count) {
    if (count == 0) {
        printf(INFO "count=0\n\n");
    } else if (count == 1) {
        printf(INFO "count=1 curr=1250\n\n");
    } else {
        printf(INFO "count=%d first=1300 curr=1240 min=1200 max=1400 avg=1250.5 std=20", count);
#ifndef FLAVOUR_OLD
        printf(" p5=1210 median=1250 p95=1390");
#endif
        printf("\n\n");
    }
}

int main(int argc, char** argv) {
    char unknown[2048] = "";
    int help = 0;
#ifdef FAULT_NOISE
    for (long i = 0; i < 10L << 20; i += 8)
        printf("\033[2J ~~~\n");
#endif
    for (int i = 1; i < argc; i++) {
        size_t k;
        for (k = 0; k < COUNT; k++) {
            size_t n = strlen(names[k]);
            if (!strncmp(argv[i], "--", 2) && !strncmp(argv[i] + 2, names[k], n) &&
                argv[i][2 + n] == '=')
                break;
        }
        if (k < COUNT)
            values[k] = strchr(argv[i], '=') + 1;
        else if (!strcmp(argv[i], "--help"))
            help = 1;
        else
            snprintf(unknown + strlen(unknown), sizeof unknown - strlen(unknown), " %s", argv[i]);
    }
    if (help) {
        printf("usage: %s\nFlags:\n", argv[0]);
        for (size_t k = 0; k < COUNT; k++)
            printf("\t--%s=\toptional\tsee above\n", names[k]);
        return 0;
    }
    printf(INFO "STARTING!\n");
    if (*unknown)
        printf(WARN "Unconsumed cmdline flags:%s\n", unknown);
    if (access(flag("graph"), R_OK))
        return fail("Failed to mmap model");
#ifdef FAULT_FALLBACK
    return fail("Disallowed CPU fallback detected.");
#endif
#ifdef FAULT_CRASH
    abort();
#endif
#ifdef FAULT_HANGS
    fflush(stdout);
    for (;;)
        pause();
#endif
    printf(INFO "Graph: [%s]\n" INFO "Loaded model %s\n", flag("graph"), flag("graph"));
    printf(INFO "Created TensorFlow Lite XNNPACK delegate for CPU.\n");
    printf(INFO "The input model file size (MB): 0.002\n" INFO "Initialized session in 3.5ms.\n");
    int runs = atoi(flag("num_runs"));
#ifndef FLAVOUR_LITERT
    unsigned char input[IN_BYTES + 1], output[OUT_BYTES] = {0};
    if (*flag("input_layer")) {
        if (items(flag("input_layer"), ',') != items(flag("input_layer_shape"), ':'))
            return fail("The number of items in --input_layer_shape should match --input_layer");
        printf(WARN "Tensor # 0 is named image but flags call it %s\n", flag("input_layer"));
        if (!read_inputs(input))
            return fail("Failed to read the input layer value file");
        for (int i = 0; i < SAMPLES; i++)
            if (!memcmp(input, golden_in[i], IN_BYTES))
                memcpy(output, golden_out[i], OUT_BYTES);
    }
#endif
    print_stat(atoi(flag("warmup_runs")));
    print_stat(runs);
#ifdef FLAVOUR_LITERT
#define LINE "INFO: [benchmark_litert_model.h:180] "
    fprintf(stderr, LINE "\n========== BENCHMARK RESULTS ==========\n");
    fprintf(stderr,
            LINE "Model initialization: 3.50 ms\n" LINE "Inference (avg):      1.25 ms (%d runs)\n",
            runs);
    fprintf(stderr, LINE "======================================\n");
#elif defined FLAVOUR_OLD
    printf("Average inference timings in us: Warmup: 1300, Init: 3500, Inference: 1250.5\n");
    printf("Peak memory footprint (MB): init=1.5 overall=2.5\n");
#else
    printf(INFO "Inference timings in us: Init: 3500, First inference: 1300, Warmup (avg): 1300, "
                "Inference (avg): 1250.5\n");
    printf(INFO "Memory footprint delta from the start of the tool (MB): init=1.5 overall=2.5\n");
#ifdef FAULT_WRONG
    output[OUT_BYTES - 1] ^= 64;
#endif
#ifdef FAULT_NEAR
    output[0] = (unsigned char)(output[0] + (output[0] < 100 ? 1 : -1));
#endif
    if (*flag("output_filepath")) {
        FILE* f = fopen(flag("output_filepath"), "wb");
        if (!f)
            return fail("Failed to open the output file");
#ifdef FAULT_SHORT
        fwrite(output, 1, OUT_BYTES - 1, f);
#else
        fwrite(output, 1, OUT_BYTES, f);
#endif
        fclose(f);
    }
#endif
#ifndef FLAVOUR_OLD
    if (*flag("result_file_path"))
        write_result(flag("result_file_path"), runs);
#endif
#ifndef FLAVOUR_LITERT
#ifdef FLAVOUR_OLD
    const char* profile = flag("profiling_output_csv_file");
#else
    const char* profile = flag("op_profiling_output_file");
#endif
    if (*profile) {
        FILE* f = fopen(profile, "w");
        if (!f)
            return fail("Failed to open the profile");
        fprintf(f, "Operator-wise Profiling Info for Regular Benchmark Runs:\n"
                   "============================== Run Order ==============================\n"
                   "node type, first, avg_ms, %%, cdf%%, mem KB, times called, name\n"
                   "FULLY_CONNECTED, 0.9, 0.8, 80%%, 80%%, 0, 1, [logits\tb]:1\n"
                   "SOFTMAX, 0.2, 0.2, 20%%, 100%%, 0, 1, [scores]:2\n\n");
        fclose(f);
    }
#endif
#ifdef FAULT_COUGHS
    fprintf(stderr, "FATAL: \033[31mout of luck\n");
#endif
    return 0;
}
