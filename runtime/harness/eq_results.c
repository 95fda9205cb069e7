#include "eq_results.h"

#include "eq_inference.h"
#include "eq_real.h"
#include "eq_reply.h"

#include <string.h>

/* Element `index` of a tensor as it is stored. */
static int64_t stored(const eq_tensor_t* tensor, const uint8_t* data, uint32_t index) {
    int64_t wide;
    int32_t word;
    int16_t half;
    switch (tensor->dtype) {
    case EQ_INT16:
        memcpy(&half, data + 2 * (size_t)index, sizeof half);
        return half;
    case EQ_INT32:
        memcpy(&word, data + 4 * (size_t)index, sizeof word);
        return word;
    case EQ_INT64:
        memcpy(&wide, data + 8 * (size_t)index, sizeof wide);
        return wide;
    case EQ_INT8:
        return (int8_t)data[index];
    default:
        return data[index];
    }
}

void eq_put_results(eq_harness_t* harness) {
    const eq_harness_config_t* config = harness->config;
    const eq_tensor_t* tensor = &config->model->outputs[0];
    const uint8_t* data = eq_model_output(config->model, config->arena, 0);
    uint32_t count = tensor->bytes / eq_dtype_size(tensor->dtype);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            eq_put(harness, ",");
        }
        if (tensor->dtype == EQ_FLOAT32) {
            float value;
            memcpy(&value, data + 4 * (size_t)i, sizeof value);
            eq_put_real(harness, eq_real_from_float(value));
        } else if (eq_real_from_float(tensor->scale).mantissa != 0) {
            eq_put_real(harness,
                        eq_real_scale(stored(tensor, data, i) - tensor->zero_point, tensor->scale));
        } else {
            eq_put_real(harness, eq_real_scale(stored(tensor, data, i), 1.0f));
        }
    }
}
