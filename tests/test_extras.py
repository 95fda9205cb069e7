from importlib import metadata

import pytest

from edgeq.extras import install_line

INSTALLED = [
    "numpy>=1.26",
    "tensorflow<2.22,>=2.19; extra == 'tensorflow'",
    'litert-quantizer>=0.11; extra == "tensorflow"',
    "tflite-micro==0.dev20261023182759; extra == 'tflm'",
]


def test_the_line_names_the_packages_and_not_edgeq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: INSTALLED)
    assert (
        install_line("tensorflow")
        == "pip install 'tensorflow<2.22,>=2.19' 'litert-quantizer>=0.11'"
    )
    assert install_line("tflm") == "pip install tflite-micro==0.dev20261023182759"


def test_a_checkout_that_is_not_installed_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert install_line("tflm") == "pip install '.[tflm]', in edgeq's own folder"
