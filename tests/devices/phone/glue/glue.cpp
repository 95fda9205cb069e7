// What makes adbd a phone's where there is no Android: properties and keys come from files, nobody
// taps "Allow", there is no debugger's port, and it is the shell's user.
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include <adbd_auth.h>
#include <android-base/properties.h>

#include "adb.h"

namespace {

constexpr uid_t kShell = 2000;

bool TakeProperties() {
    std::ifstream file("/system/build.prop");
    for (std::string line; std::getline(file, line);) {
        size_t equals = line.find('=');
        if (equals != std::string::npos) {
            android::base::SetProperty(line.substr(0, equals), line.substr(equals + 1));
        }
    }
    return true;
}

bool BecomeShell() {
    if (setgroups(0, nullptr) || setresgid(kShell, kShell, kShell) ||
        setresuid(kShell, kShell, kShell)) {
        abort();
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); // Linux forgets it with the change of user.
    return true;
}

const bool has_properties = TakeProperties();
const bool is_shell = BecomeShell();

} // namespace

struct AdbdAuthContext {};

extern "C" {

AdbdAuthContext* adbd_auth_new(AdbdAuthCallbacks*) {
    return new AdbdAuthContext;
}

void adbd_auth_run(AdbdAuthContext*) {
    for (;;)
        pause();
}

void adbd_auth_get_public_keys(AdbdAuthContext*, bool (*take)(const char*, size_t, void*),
                               void* arg) {
    std::ifstream file("/data/misc/adb/adb_keys");
    for (std::string line; std::getline(file, line);) {
        if (!line.empty() && !take(line.data(), line.size(), arg))
            return;
    }
}

uint64_t adbd_auth_notify_auth(AdbdAuthContext*, const char*, size_t) {
    return 1;
}

void adbd_auth_notify_disconnect(AdbdAuthContext*, uint64_t) {
}

void adbd_auth_prompt_user(AdbdAuthContext*, const char*, size_t, void*) {
}

int __real_listen(int fd, int backlog);

// adbd's server thread looks at errno after a listen() that succeeded.
int __wrap_listen(int fd, int backlog) {
    int result = __real_listen(fd, backlog);
    if (result == 0)
        errno = 0;
    return result;
}

} // extern "C"

// Its real ones listen at an abstract address, of which a computer has one.
int init_jdwp() {
    return 0;
}

asocket* create_jdwp_service_socket() {
    return nullptr;
}

asocket* create_jdwp_tracker_service_socket() {
    return nullptr;
}

unique_fd create_jdwp_connection_fd(int) {
    return unique_fd();
}
