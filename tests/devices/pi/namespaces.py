"""Run a program in an Arm root, in namespaces of its own, by QEMU's user mode.

    namespaces.py ROOT SETUP PROGRAM ARGUMENT …

SETUP is a folder whose files are laid over ROOT; ROOT itself does not change, since all that is
written goes to a tmpfs which ends with the program. `SETUP.pid` gets its process id, as this
computer counts. In there it is process 1: when it ends, or this script does, all the others end.
EDGEQ_TEST_DISK, "4m" say, limits the user's ~/.cache, or the PATH:UID of EDGEQ_TEST_DISK_AT.

The handlers of Arm binaries (binfmt_misc) belong to a user namespace since Linux 6.7: this
computer's are not touched.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1
_EM_ARM, _EM_AARCH64 = 40, 183
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

_libc = ctypes.CDLL(None, use_errno=True)


def main(root: Path, setup: Path, argv: list[str]) -> int:
    unshared_in, unshared_out = os.pipe()
    mapped_in, mapped_out = os.pipe()
    middle = os.fork()
    if middle == 0:
        _die_with_parent()
        os.close(mapped_out)
        _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWPID), "unshare")
        os.write(unshared_out, b".")
        os.read(mapped_in, 1)
        os.setgid(0)
        os.setuid(0)
        os._exit(_first_process(root, setup, argv))
    os.close(unshared_out)
    if os.read(unshared_in, 1):
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{middle}/{name}").write_text("0 0 65536\n")
        os.write(mapped_out, b".")
    return os.waitstatus_to_exitcode(os.waitpid(middle, 0)[1])


def _first_process(root: Path, setup: Path, argv: list[str]) -> int:
    _die_with_parent()
    ready_in, ready_out = os.pipe()
    first = os.fork()
    if first == 0:
        _die_with_parent()
        os.close(ready_out)
        os.read(ready_in, 1)  # Until SETUP.pid is there, whose reader may look into us.
        try:
            machine = _enter(root, setup)
            os.environ["QEMU_CPU"] = machine
            os.execvp(argv[0], argv)
        except OSError as e:
            print(f"namespaces.py: {e}", file=sys.stderr)
            os._exit(125)
    pid = setup.with_name(setup.name + ".pid")
    pid.with_suffix(".new").write_text(str(first))
    pid.with_suffix(".new").rename(pid)
    os.write(ready_out, b".")
    return max(0, os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]))


def _enter(root: Path, setup: Path) -> str:
    """Be in the root. The name of the CPU that QEMU is to be: its default computes wrong."""
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount("none", "/proc", "proc")
    _mount("none", "/proc/sys/fs/binfmt_misc", "binfmt_misc")
    cpu = _register(root / "bin/sh")
    work = setup.with_name(setup.name + ".work")
    work.mkdir(exist_ok=True)
    _mount("none", str(work), "tmpfs", data="mode=755")
    upper, inner, merged = work / "upper", work / "inner", work / "merged"
    for folder in (upper, inner, merged):
        folder.mkdir()
    data = f"lowerdir={root},upperdir={upper},workdir={inner},userxattr"
    _mount("overlay", str(merged), "overlay", data=data)
    shutil.copytree(setup, merged, dirs_exist_ok=True, copy_function=_copy)
    _mount("none", str(merged / "proc"), "proc")
    _mount(str(merged / "etc/edgeq-test/cpuinfo"), str(merged / "proc/cpuinfo"), None, _MS_BIND)
    dev = merged / "dev"
    _mount("none", str(dev), "tmpfs", data="mode=755")
    for name in _DEVICES:
        (dev / name).touch()
        _mount(f"/dev/{name}", str(dev / name), None, _MS_BIND)
    (dev / "pts").mkdir(exist_ok=True)
    _mount("none", str(dev / "pts"), "devpts", data="newinstance,ptmxmode=0666,mode=0620")
    (dev / "ptmx").symlink_to("pts/ptmx")
    if disk := os.environ.pop("EDGEQ_TEST_DISK", None):
        place, user = os.environ.pop("EDGEQ_TEST_DISK_AT", "home/pi/.cache:1000").split(":")
        limited = merged / place
        limited.mkdir(exist_ok=True)
        _mount("none", str(limited), "tmpfs", data=f"size={disk},uid={user},gid={user}")
    os.chroot(merged)
    os.chdir("/")
    return cpu


def _copy(source: str, target: str) -> None:
    """A file of the setup: root's, but in the user's home."""
    shutil.copy(source, target)
    if "/home/pi/" in target:
        os.chown(target, 1000, 1000)
        os.chown(os.path.dirname(target), 1000, 1000)


def _register(program: Path) -> str:
    """Have Linux run programs like `program` by QEMU; F: it is opened now, P: argv[0] stays."""
    header = program.read_bytes()[:20]
    arm64 = int.from_bytes(header[18:20], "little") == _EM_AARCH64
    name, cpu = ("aarch64", "cortex-a72") if arm64 else ("arm", "cortex-a15")
    magic = bytes([0x7F, 0x45, 0x4C, 0x46, 2 if arm64 else 1, 1, 1]) + bytes(9) + b"\x02\x00"
    magic += (_EM_AARCH64 if arm64 else _EM_ARM).to_bytes(2, "little")
    mask = b"\xff" * 7 + b"\x00" + b"\xff" * 8 + b"\xfe\xff\xff\xff"
    text = "".join(f"\\x{byte:02x}" for byte in magic), "".join(f"\\x{byte:02x}" for byte in mask)
    line = f":edgeq-{name}:M::{text[0]}:{text[1]}:/usr/bin/qemu-{name}-static:FP"
    Path("/proc/sys/fs/binfmt_misc/register").write_text(line)
    return cpu


def _mount(source: str, target: str, kind: str | None, flags: int = 0, data: str = "") -> None:
    text = [s.encode() if s is not None else None for s in (source, target, kind)]
    _check(_libc.mount(*text, flags, data.encode()), f"mount {kind or source} on {target}")


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _check(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
