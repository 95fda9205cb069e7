"""Every error that a person can cause, in one tree.

EdgeqError                 what went wrong, where, and (hint) what to do next
├── UsageError             the command line or edgeq.toml asks for something impossible    exit 2
│   └── MissingProgram     a program or Python package is not installed                    exit 2
├── ModelError             the model file cannot be read, or has something we refuse       exit 1
├── DataError              calibration or evaluation data is missing or unfit              exit 1
├── ConversionError        no way to convert worked                                        exit 1
├── VerificationError      the converted model is not what was asked for                   exit 1
├── BundleError            a bundle is damaged, stale or cannot be written                 exit 1
├── MeasurementError       a measurement could not be made or compared                     exit 1
├── WorkerError            a child process failed
│   ├── WorkerCrash        … it died                                                       exit 1
│   └── WorkerTimeout      … it did not answer in time                                     exit 1
├── DeviceError            a device, or the way to it, fails                               exit 1
│   ├── NoDevice           … there is none, or not at that port                            exit 1
│   ├── DeviceBusy         … another program has its port                                  exit 1
│   ├── DevicePermission   … this user may not open its port                               exit 1
│   ├── NoReply            … it says nothing                                               exit 1
│   ├── Garbage            … what it says is no language of edgeq's                        exit 1
│   ├── ProtocolError      … one line of it is not what it should be                       exit 1
│   ├── DeviceLost         … it went away                                                  exit 1
│   ├── DeviceFault        … it crashed, restarted or reports an error of its own          exit 1
│   ├── StaleFirmware      … it runs another model, or another version of the harness      exit 1
│   └── FlashError         … it could not be flashed                                       exit 1
└── DoesNotFit             the target lacks the memory or an operator                      exit 3
"""

from __future__ import annotations


class EdgeqError(Exception):
    """What went wrong and where, with an optional `hint`: the next step for the reader."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(EdgeqError):
    exit_code = 2


class MissingProgram(UsageError):
    pass


class ModelError(EdgeqError):
    pass


class DataError(EdgeqError):
    pass


class ConversionError(EdgeqError):
    pass


class VerificationError(EdgeqError):
    pass


class BundleError(EdgeqError):
    pass


class MeasurementError(EdgeqError):
    pass


class WorkerError(EdgeqError):
    pass


class WorkerCrash(WorkerError):
    pass


class WorkerTimeout(WorkerError):
    pass


class DeviceError(EdgeqError):
    pass


class NoDevice(DeviceError):
    pass


class DeviceBusy(DeviceError):
    pass


class DevicePermission(DeviceError):
    pass


class NoReply(DeviceError):
    pass


class Garbage(DeviceError):
    pass


class ProtocolError(DeviceError):
    pass


class DeviceLost(DeviceError):
    pass


class DeviceFault(DeviceError):
    pass


class StaleFirmware(DeviceError):
    pass


class FlashError(DeviceError):
    pass


class DoesNotFit(EdgeqError):
    exit_code = 3
