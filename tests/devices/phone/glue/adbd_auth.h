// What adbd wants of Android's libadbd_auth, whose source Debian does not have.
#pragma once

#include <stddef.h>
#include <stdint.h>

extern "C" {

struct AdbdAuthCallbacksV1 {
    void (*key_authorized)(void* arg, uint64_t id);
};

struct AdbdAuthCallbacks {
    uint32_t version;
    union {
        AdbdAuthCallbacksV1 v1;
    } callbacks;
};

struct AdbdAuthContext;

AdbdAuthContext* adbd_auth_new(AdbdAuthCallbacks* callbacks);
void adbd_auth_run(AdbdAuthContext* context);
void adbd_auth_get_public_keys(AdbdAuthContext* context, bool (*take)(const char*, size_t, void*),
                               void* arg);
uint64_t adbd_auth_notify_auth(AdbdAuthContext* context, const char* key, size_t size);
void adbd_auth_notify_disconnect(AdbdAuthContext* context, uint64_t id);
void adbd_auth_prompt_user(AdbdAuthContext* context, const char* key, size_t size, void* arg);

} // extern "C"
