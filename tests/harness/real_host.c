/* eq_real.h on standard input: "f BITS" prints a float, "s STEPS BITS" a scaled integer. */
#include "eq_real.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void host_write(void* context, const char* bytes, size_t count) {
    (void)context;
    fwrite(bytes, 1, count, stdout);
}

int main(void) {
    eq_port_t port = {.write = host_write};
    eq_harness_config_t config = {.port = &port};
    eq_harness_t harness = {.config = &config};
    char kind;
    while (scanf(" %c", &kind) == 1) {
        int64_t steps = 0;
        uint32_t bits;
        float value;
        if ((kind == 's' && scanf("%" SCNd64, &steps) != 1) || scanf("%" SCNx32, &bits) != 1) {
            return 1;
        }
        memcpy(&value, &bits, sizeof value);
        eq_put_real(&harness,
                    kind == 's' ? eq_real_scale(steps, value) : eq_real_from_float(value));
        putchar('\n');
    }
    return 0;
}
