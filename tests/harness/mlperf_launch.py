"""Starts the official MLPerf Tiny runner, unchanged, with a pty as the only serial port.

The runner is github.com/mlcommons/tiny, benchmark/runner; it is not part of this repository. It
finds boards by their USB ids, which a pty has not: this stands in for the system's list of ports,
and for libusb. It needs pyserial, pyyaml, numpy, scikit-learn, matplotlib and pyusb. In its
folder, with the firmware in `qemu-system-arm -M mps2-an386 -icount shift=0 -display none
-monitor none -serial pty -kernel firmware.elf`, which prints the pty's name:

    python mlperf_launch.py /dev/pts/N -d devices_kws_ic_vww.yaml -s DATASETS -m p

DATASETS/kws01/y_labels.csv (or ic01, ad01, …; what `profile%` says) has lines of
FILE,CLASSES,CLASS,BYTES,STRIDE. Performance mode takes the first five files.
"""

from __future__ import annotations

import runpy
import sys
import types

import serial.tools.list_ports
import usb.core

NUCLEO_L4R5ZI = {"vid": 0x0483, "pid": 0x374B}  # The reference board of its devices_*.yaml.


def main(pty: str, arguments: list[str]) -> None:
    port = types.SimpleNamespace(device=pty, description="pty", **NUCLEO_L4R5ZI)
    serial.tools.list_ports.comports = lambda *_: [port]
    usb.core.find = lambda *_, **__: []
    sys.argv = ["main.py", *arguments]
    sys.path.insert(0, ".")
    runpy.run_path("main.py", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
