#include "edgeq.h"

const uint8_t EQ_ABI_NAMED(EQ_ABI_VERSION) = EQ_ABI_VERSION;

const char* eq_status_text(eq_status_t status) {
#define EQ_STATUS_CASE(name, value, text)                                                          \
    case name:                                                                                     \
        return text;
    switch (status) {
        EQ_STATUS_LIST(EQ_STATUS_CASE)
    default:
        return "unknown status";
    }
#undef EQ_STATUS_CASE
}

eq_status_t eq_model_init(const eq_model_t* model, void* arena, size_t arena_size) {
    if (model == NULL || arena == NULL) {
        return EQ_ERROR_ARGUMENT;
    }
    if (model->abi_version != EQ_ABI_VERSION) {
        return EQ_ERROR_ABI;
    }
    if (arena_size < model->arena_size) {
        return EQ_ERROR_ARENA_SIZE;
    }
    if ((uintptr_t)arena % EQ_ARENA_ALIGNMENT != 0) {
        return EQ_ERROR_ARENA_ALIGNMENT;
    }
    return eq_model_reset(model, arena);
}

eq_status_t eq_model_invoke(const eq_model_t* model, void* arena) {
    return eq_model_invoke_hooked(model, arena, NULL, NULL);
}

eq_status_t eq_model_invoke_hooked(const eq_model_t* model, void* arena, eq_layer_hook_t hook,
                                   void* context) {
    if (model == NULL || arena == NULL) {
        return EQ_ERROR_ARGUMENT;
    }
    model->run((uint8_t*)arena, hook, context, model);
    return EQ_OK;
}

eq_status_t eq_model_reset(const eq_model_t* model, void* arena) {
    if (model == NULL || arena == NULL) {
        return EQ_ERROR_ARGUMENT;
    }
    if (model->reset != NULL) {
        model->reset((uint8_t*)arena);
    }
    return EQ_OK;
}
