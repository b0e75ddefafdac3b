"""ONNX Runtime's WebGPU plugin: any GPU, through Vulkan, Metal or Direct3D 12. It is loaded only when it is named."""

import functools
from typing import Any

import onnxruntime as ort

from polyexport.errors import ProviderError
from polyexport.runtime.native_log import captured_stderr
from polyexport.runtime.onnxruntime_session import DeviceSession, session_settings
from polyexport.runtime.provider import Provider
from polyexport.runtime.session import SessionOptions

__all__ = ["PROVIDER"]


class _WebGpu(Provider):
    name = "webgpu"
    execution_provider = "WebGpuExecutionProvider"
    remedy = (
        "install it with `pip install 'polyexport[webgpu]'`, a GPU's driver and, on Linux, libvulkan1, "
        "or use --provider cpu"
    )
    module = "onnxruntime_ep_webgpu"
    packages = ("onnxruntime-ep-webgpu",)
    on_device = True
    precision_advice = "give an fp32 model"  # the plugin has no QuantizeLinear, of which int8 models are full

    def open(self, model: bytes, options: SessionOptions) -> DeviceSession:
        with captured_stderr():  # Vulkan's loader and Dawn, the plugin's WebGPU, write to it
            _register_plugin()
            devices = [device for device in ort.get_ep_devices() if device.ep_name == self.execution_provider]
            if not devices:
                raise ProviderError("it finds no GPU that it can use", remedy=self.remedy)
            settings = session_settings(options)
            settings.add_provider_for_devices(devices[:1], {})
            session: Any = ort.InferenceSession(model, settings, enable_fallback=False)
        # It has one queue, and the process ends when a thread copies while another one runs.
        return DeviceSession(session, device="webgpu", one_call_at_a_time=True)


@functools.cache
def _register_plugin() -> None:
    """Load the plugin into ONNX Runtime, once."""
    import onnxruntime_ep_webgpu

    ort.register_execution_provider_library("polyexport.webgpu", onnxruntime_ep_webgpu.get_library_path())


PROVIDER = _WebGpu()
