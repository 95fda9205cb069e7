"""The real adbd, from Debian's source package android-platform-tools, for this computer.

    python tests/devices/phone/adbd.py

Its Linux flavour builds as it is with the files of glue/, which stand for what only Android has.
The result stays in the tests' cache folder, under a name that changes with this file and glue/.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from phone import packages  # noqa: E402

VERSION = "29.0.6"
PACKAGES = (
    "clang patchelf libcap-dev android-libbase-dev android-libcutils-dev android-liblog-dev "
    "android-libboringssl-dev"
).split()

_SOURCES = """
adb.cpp adb_io.cpp adb_listeners.cpp adb_trace.cpp adb_unique_fd.cpp adb_utils.cpp
fdevent/fdevent.cpp fdevent/fdevent_epoll.cpp fdevent/fdevent_poll.cpp services.cpp
shell_service_protocol.cpp socket_spec.cpp sockets.cpp sysdeps/errno.cpp sysdeps/posix/network.cpp
sysdeps_unix.cpp transport.cpp transport_fd.cpp transport_local.cpp transport_usb.cpp types.cpp
daemon/auth.cpp daemon/file_sync_service.cpp daemon/main.cpp daemon/services.cpp
daemon/shell_service.cpp daemon/usb_dummy.cpp
../diagnose_usb/diagnose_usb.cpp ../libcrypto_utils/android_pubkey.c
""".split()

_INCLUDES = """
adb adb/daemon/include diagnose_usb/include libcrypto_utils/include base/include libcutils/include
liblog/include include libasyncio/include
""".split()

_DEFINES = (
    "_GNU_SOURCE",
    "ADB_HOST=0",
    "ALLOW_ADBD_ROOT=0",
    "ALLOW_ADBD_NO_AUTH",  # ro.adb.secure decides.
    "ANDROID_BASE_UNIQUE_FD_DISABLE_IMPLICIT_CONVERSION=1",
    f'PLATFORM_TOOLS_VERSION="{VERSION}"',
    f'ADB_VERSION="{VERSION}-debian"',
)

_GENERATED = {
    "build/version.h": "#include <string>\n"
    'namespace android::build { inline std::string GetBuildNumber() { return "debian"; } }\n',
    "platform_tools_version.h": "",
}
"""Headers that Android's build makes."""

_LIBRARIES = "/usr/lib/x86_64-linux-gnu/android"


def missing() -> str | None:
    """Why it cannot be built on this computer."""
    files = {
        "clang": shutil.which("clang++"),
        "patchelf": shutil.which("patchelf"),
        "libcap-dev": Path("/usr/include/sys/capability.h").exists(),
        "android-libbase-dev": Path("/usr/include/android/android-base").exists(),
        "android-libcutils-dev": Path("/usr/include/android/cutils").exists(),
        "android-liblog-dev": Path("/usr/include/android/log").exists(),
        "android-libboringssl-dev": Path("/usr/include/android/openssl").exists(),
    }
    gone = [package for package in PACKAGES if not files[package]]
    return f"adbd needs: apt-get install {' '.join(gone)}" if gone else None


def recipe() -> str:
    """A word that changes with how it is built."""
    files = [Path(__file__), *sorted(HERE.glob("glue/*"))]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:12]


def adbd() -> Path:
    """The program, built when it is not there yet; its libraries stay this computer's."""
    place = packages.folder()
    made = place / f"adbd-{recipe()}"
    with FileLock(place / "adbd.lock", timeout=280):
        if not made.exists():
            if reason := missing():
                raise RuntimeError(reason)
            work = place / "adbd-new"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            _build(work)
            for old in place.glob("adbd-*[0-9a-f]"):
                old.unlink(missing_ok=True)
            (work / "adbd").rename(made)
            shutil.rmtree(work)
    return made


def _build(work: Path) -> None:
    packages.source("android-platform-tools", work)
    (archive,) = work.glob("*.orig.tar.gz")
    with tarfile.open(archive) as tar:
        members = [m for m in tar if "/system/core/" in m.name]
        tar.extractall(work, members=members, filter="data")
    (core,) = work.glob("*/system/core")
    (work / "include/build").mkdir(parents=True)
    for name, text in _GENERATED.items():
        (work / "include" / name).write_text(text)
    folders = [HERE / "glue", work / "include", *(core / name for name in _INCLUDES)]
    flags = ["-O1", "-w", "-fPIC", *(f"-D{d}" for d in _DEFINES), *(f"-I{f}" for f in folders)]
    flags.append("-I/usr/include/android")
    sources = [core / "adb" / name for name in _SOURCES] + [HERE / "glue/glue.cpp"]

    def compiled(number: int) -> str:
        source, made = sources[number], work / f"{number}.o"
        language = ["clang"] if source.suffix == ".c" else ["clang++", "-std=gnu++2a"]
        packages.run(*language, *flags, "-c", str(source), "-o", str(made))
        return str(made)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, range(len(sources))))
    libraries = "-lbase -lcutils -llog -lcrypto -lpthread -lresolv -lutil -lcap".split()
    packages.run(
        *("clang++", "-s", "-o", str(work / "adbd"), *objects, f"-L{_LIBRARIES}"),
        *(f"-Wl,-rpath,{_LIBRARIES}", "-Wl,--wrap=listen", *libraries),
    )


def libraries(program: Path) -> list[Path]:
    """What `program` is linked with on this computer, the loader too."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [Path(word) for word in listed.split() if word.startswith("/")]


if __name__ == "__main__":
    print(adbd())
