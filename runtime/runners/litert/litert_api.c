#define _POSIX_C_SOURCE 200809L
#include "litert_api.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* Came with the function whose arguments changed: CreateModelFromBuffer takes an environment. */
#define NEW_ENOUGH "LiteRtCreateModelFromFd"

/* A pointer to a function may not be cast from one to data in C99; POSIX has both alike. */
static bool find(void* library, const char* name, void* function, char* text, size_t room) {
    void* found = dlsym(library, name);
    if (found == NULL) {
        snprintf(text, room, "it has no %s; ai-edge-litert 2.1.6 or later is needed", name);
        return false;
    }
    memcpy(function, &found, sizeof found);
    return true;
}

bool litert_load(litert_api_t* api, const char* library, char* text, size_t room) {
    void* unused;
    void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        const char* reason = dlerror();
        snprintf(text, room, "%s", reason == NULL ? "dlopen failed" : reason);
        return false;
    }
#define LITERT_FIND(name, arguments)                                                               \
    if (!find(handle, "LiteRt" #name, &api->name, text, room)) {                                   \
        return false;                                                                              \
    }
    LITERT_FUNCTIONS(LITERT_FIND)
    LITERT_FIND(DestroyCompiledModel, )
#undef LITERT_FIND
    return find(handle, NEW_ENOUGH, &unused, text, room);
}
