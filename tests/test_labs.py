"""Devices by name and by address: [devices.NAME], the lab's file, and what a person types."""

from __future__ import annotations

import pytest

from edgeq.errors import UsageError
from edgeq.fleet import pair
from edgeq.labs import Device, DeviceSettings, find_device, is_address, known_devices
from edgeq.project import load_project
from edgeq.targets import load_target


@pytest.fixture
def lab(tmp_path):
    path = tmp_path / "devices.toml"
    path.write_text(
        '[devices.phone]\ntarget = "android"\naddress = "adb:R58M1"\ncores = "big"\n'
        '[devices.pi]\ntarget = "rpi"\naddress = "ssh:pi@raspberrypi"\n'
    )
    return path


def test_the_lab_s_devices_and_the_project_s_are_one(lab, tmp_path):
    tables = {
        "phone": DeviceSettings(cores="little", threads=2),
        "board": DeviceSettings(address="serial:/dev/ttyACM0", target="cortex-m4", baud=9600),
    }
    found = known_devices(tables, tmp_path / "edgeq.toml", lab)
    assert found["phone"] == Device(
        "phone", "adb:R58M1", target="android", cores="little", threads=2
    )
    assert (found["pi"].kind, found["pi"].place) == ("ssh", "pi@raspberrypi")
    assert found["board"].baud == 9600


def test_without_a_lab_file_there_is_only_the_project(tmp_path):
    assert known_devices({}, None, tmp_path / "none.toml") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[devices.phone]\ntarget = "android"\n', "phone.* has no address"),
        ('[devices.phone]\naddress = "usb:3"\n', "address 'usb:3' is none"),
        ('[devices.phone]\naddress = "adb:"\n', "is none"),
        ('[devices.phone]\nplace = "adb:X"\n', "place"),
        ('[devices.sim]\naddress = "adb:X"\n', "no name for a device"),
        ('[devices."a b"]\naddress = "adb:X"\n', "no name for a device"),
        ('[devices.phone]\naddress = "adb:X"\nbaud = 0\n', "baud = 0"),
        ('[devices.phone]\naddress = "adb:X"\nthreads = "two"\n', "threads"),
        ('[devices.phone]\naddress = "adb:X"\nthreads = 1025\n', "threads = 1025"),
        ("devices = 3\n", "devices"),
    ],
)
def test_a_lab_file_that_is_wrong_is_said_with_its_key(tmp_path, text, said):
    path = tmp_path / "devices.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as e:
        known_devices({}, None, path)
    assert str(path) in e.value.message


def test_a_project_has_devices(tmp_path):
    path = tmp_path / "edgeq.toml"
    path.write_text(
        'name = "net"\nmodel = "net.tflite"\n[devices.mine]\ntarget = "./my.toml"\n'
        'address = "serial:auto"\n'
    )
    table = load_project(path).devices["mine"]
    assert table.target == str(tmp_path / "my.toml") and table.address == "serial:auto"


@pytest.mark.parametrize("text", ["adb:X", "ssh:pi@h:22", "console:/dev/ttyUSB0", "sim", "local"])
def test_addresses(text):
    assert is_address(text)
    assert find_device(text, {}) == Device(text, text)


def test_a_device_that_nobody_knows_is_said_with_the_nearest_name():
    known = {"phone": Device("phone", "adb:X")}
    assert find_device("phone", known) is known["phone"]
    with pytest.raises(UsageError, match="no device 'phon'") as e:
        find_device("phon", known)
    assert "did you mean phone?" in e.value.hint and "adb:SERIAL" in e.value.hint


def test_a_user_at_a_host_is_taken_for_ssh():
    with pytest.raises(UsageError, match="no device 'pi@raspberrypi'") as e:
        find_device("pi@raspberrypi", {})
    assert "did you mean ssh:pi@raspberrypi?" in e.value.hint


def test_each_device_gets_what_is_for_it():
    targets = [load_target(name) for name in ("android", "rpi", "mps2-an386")]
    for address, name in (
        ("adb:X", "android"), ("ssh:pi@h", "rpi"), ("console:/dev/ttyUSB0", "rpi"),
        ("sim", "mps2-an386"), ("serial:auto", "mps2-an386"),
    ):  # fmt: skip
        assert pair(Device(address, address), targets).name == name
    assert pair(Device("p", "adb:X", target="rpi"), targets).name == "rpi"


def test_a_device_without_a_bundle_or_with_two_is_an_error():
    targets = [load_target(name) for name in ("rpi", "rpi4", "rpi-armv7")]
    with pytest.raises(UsageError, match="here is only rpi, rpi4, rpi-armv7"):
        pair(Device("adb:X", "adb:X"), targets)
    with pytest.raises(UsageError, match="may be any of rpi, rpi4, rpi-armv7"):
        pair(Device("ssh:h", "ssh:h"), targets)
    with pytest.raises(UsageError, match="phone is a android"):
        pair(Device("phone", "adb:X", target="android"), targets)
