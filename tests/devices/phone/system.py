"""Android's file system, as far as edgeq sees it: mksh and toybox for arm64, getprop, dumpsys.

    python tests/devices/phone/system.py

Debian's toybox is built without `tr`: busybox has that. No /lib: what is pushed has to bring its
own loader, as on a phone. The result stays in the tests' cache folder, under a name that changes
with this file and with adbd's recipe.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from phone import adbd, packages  # noqa: E402

SHELL = 2000
"""The user and group of `adb shell`."""

ADBD = "/apex/com.android.adbd"

_LOADER = "/system/bin/linker64"

_GETPROP = """\
#!/system/bin/sh
set -f
IFS='
'
for line in $(</system/build.prop); do
  case $line in "$1="*) print -r -- "${line#*=}"; exit 0 ;; esac
done
echo
"""

_DUMPSYS = """\
#!/system/bin/sh
case $1 in
battery) printf 'Current Battery Service state:\\n  level: %s\\n  scale: 100\\n' 87 ;;
thermalservice) printf 'IsStatusOverride: false\\nThermal Status: %s\\n' 1 ;;
*) echo "Can't find service: $1" >&2; exit 1 ;;
esac
"""

_FILES = {
    "etc/passwd": f"root:x:0:0::/:/bin/sh\nshell:x:{SHELL}:{SHELL}::/:/system/bin/sh\n",
    "etc/group": f"root:x:0:\nshell:x:{SHELL}:\n",
    "system/bin/getprop": _GETPROP,
    "system/bin/dumpsys": _DUMPSYS,
}


def made() -> Path:
    """Where the root of this recipe is, once it is made."""
    recipe = hashlib.sha256(Path(__file__).read_bytes() + adbd.recipe().encode()).hexdigest()
    return packages.folder() / f"root-{recipe[:12]}"


def root() -> Path:
    """The root, made when it is not there yet."""
    place = made()
    with FileLock(place.with_name("root.lock"), timeout=280):
        if not place.exists():
            packages.forget_old("root-*")
            new = place.with_name("root-new")
            shutil.rmtree(new, ignore_errors=True)
            _make(new)
            new.rename(place)
    return place


def _make(new: Path) -> None:
    daemon = adbd.adbd()
    unpacked = new / "unpacked"
    unpacked.mkdir(parents=True)
    for archive in packages.archives("arm64", ["mksh", "toybox", "busybox-static"]):
        packages.run("dpkg-deb", "-x", str(archive), str(unpacked))
    binaries, libraries = new / "system/bin", new / "system/lib64"
    for folder in ("system/bin", "system/lib64", "data/local/tmp", "data/misc", "etc", "proc"):
        (new / folder).mkdir(parents=True)
    for folder in ("dev", "sys", "tmp", ADBD[1:]):
        (new / folder).mkdir(parents=True)
    (new / "bin").symlink_to("system/bin")
    shutil.copy(unpacked / "usr/lib/aarch64-linux-musl/bin/mksh", binaries / "sh")
    shutil.copy(unpacked / "bin/busybox", binaries / "tr")
    shutil.copy(unpacked / "bin/toybox", binaries / "toybox")
    shutil.copy(unpacked / "lib/ld-linux-aarch64.so.1", new / _LOADER[1:])
    for name in ("libc.so.6", "libcrypt.so.1", "libm.so.6"):
        shutil.copy(unpacked / "lib/aarch64-linux-gnu" / name, libraries / name)
    (libraries / "ld-linux-aarch64.so.1").symlink_to(_LOADER)
    packages.run(
        *("patchelf", "--set-interpreter", _LOADER, "--force-rpath"),
        *("--set-rpath", "/system/lib64", str(binaries / "toybox")),
    )
    listed = subprocess.run(
        ["qemu-aarch64-static", "-L", unpacked, unpacked / "bin/toybox"],
        capture_output=True,
        text=True,
        check=True,
        env={"QEMU_CPU": "cortex-a72"},
    ).stdout
    for name in set(listed.split()) - {"sh", "toybox", "tr"}:
        (binaries / name).symlink_to("toybox")
    for name, text in _FILES.items():
        (new / name).write_text(text)
    for name in ("getprop", "dumpsys"):
        (binaries / name).chmod(0o755)
    for file in (daemon, *adbd.libraries(daemon)):
        shutil.copy(file, new / ADBD[1:] / ("adbd" if file == daemon else file.name))
    for folder in ("data/local", "data/local/tmp"):
        os.chown(new / folder, SHELL, SHELL)
    shutil.rmtree(unpacked)


if __name__ == "__main__":
    print(root())
