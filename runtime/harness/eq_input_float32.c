/* `db` holds floats, which are quantized here; an autoencoder's result is its error (ad01). The
 * only arithmetic with floats in the harness, and only in firmware that names it.
 */
#include "eq_inference.h"
#include "eq_real.h"
#include "eq_results.h"

#include <string.h>

static float float_at(const uint8_t* bytes, uint32_t index) {
    float value;
    memcpy(&value, bytes + 4 * (size_t)index, sizeof value);
    return value;
}

/* round(value / scale) + zero_point of the reference: halves go away from zero. What is no int8 is
 * cut; what is no number becomes zero. */
static int8_t quantize(float value, const eq_tensor_t* tensor) {
    float steps = value / tensor->scale;
    float rest;
    int32_t result;
    if (!(steps > -1024.0f)) {
        return steps == steps ? INT8_MIN : (int8_t)tensor->zero_point;
    }
    if (steps > 1024.0f) {
        return INT8_MAX;
    }
    result = (int32_t)steps;
    rest = steps - (float)result;
    result += rest >= 0.5f ? 1 : rest <= -0.5f ? -1 : 0;
    result += tensor->zero_point;
    return (int8_t)(result < INT8_MIN ? INT8_MIN : result > INT8_MAX ? INT8_MAX : result);
}

static void convert(eq_harness_t* harness) {
    const eq_harness_config_t* config = harness->config;
    const eq_tensor_t* tensor = &config->model->inputs[0];
    for (uint32_t i = 0; i < tensor->bytes; i++) {
        config->inputs[i] = (uint8_t)quantize(float_at(config->db, i), tensor);
    }
}

static void results(eq_harness_t* harness) {
    const eq_harness_config_t* config = harness->config;
    const eq_tensor_t* output = &config->model->outputs[0];
    uint32_t count = config->model->inputs[0].bytes;
    const uint8_t* data = eq_model_output(config->model, config->arena, 0);
    float sum = 0;
    if (output->dtype != EQ_INT8 || output->bytes != count) {
        eq_put_results(harness);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        float value = (float)((int8_t)data[i] - output->zero_point) * output->scale;
        float difference = value - float_at(config->db, i);
        sum += difference * difference;
    }
    eq_put_real(harness, eq_real_from_float(sum / (float)count));
}

const eq_input_t eq_input_float32 = {"float32", 0, convert, results};
