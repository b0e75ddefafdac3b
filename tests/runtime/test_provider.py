"""What providers say of their number formats and devices."""

import pytest

from polyexport.runtime.machine import cpu_name
from polyexport.runtime.probe import probe_provider
from polyexport.runtime.provider import all_providers, load_provider
from polyexport.runtime.session import SessionOptions


@pytest.mark.parametrize(("name", "bits", "exact"), [("cpu", 23, 23), ("cuda", 10, 23), ("tensorrt", 10, 10)])
def test_bits_behind_the_point(name: str, bits: int, exact: int) -> None:
    provider = load_provider(name)
    assert provider.float_bits(SessionOptions()) == bits
    assert provider.float_bits(SessionOptions(use_tf32=False)) == exact


def test_openvino_multiplies_in_bfloat16_where_the_cpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = load_provider("openvino")
    for capabilities, bits in ((["FP32", "BF16"], 7), (["FP32"], 23)):
        monkeypatch.setattr("polyexport.runtime.providers.openvino._capabilities", lambda found=capabilities: found)
        assert provider.float_bits(SessionOptions()) == bits
        assert provider.float_bits(SessionOptions(use_tf32=False)) == 23


def test_providers_on_the_processor_name_it() -> None:
    for provider in all_providers():
        if probe_provider(provider.name).works and not provider.on_device:
            assert provider.device(SessionOptions()) == cpu_name()
