"""Real inverse Fourier transforms are the same in ONNX Runtime as in PyTorch, along any axes and of any length."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from polyexport.export.graph.spectra import write_out_real_inverses


class Filtered(nn.Module):
    """Multiplies a spectrum by a complex number."""

    def __init__(self, axes: tuple[int, ...], norm: str) -> None:
        super().__init__()
        self.axes, self.norm = axes, norm

    def forward(self, image: Tensor) -> Tensor:
        spectrum = torch.fft.rfftn(image, dim=self.axes, norm=self.norm) * (1.5 + 0.5j)
        lengths = [image.shape[axis] for axis in self.axes]
        result: Tensor = torch.fft.irfftn(spectrum, s=lengths, dim=self.axes, norm=self.norm)
        return result * 2


def exported(module: nn.Module) -> onnx.ModelProto:
    shapes = ({0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")},)
    program = torch.onnx.export(
        module, (torch.rand(2, 3, 8, 12),), dynamo=True, dynamic_shapes=shapes, opset_version=21, verbose=False
    )
    assert program is not None
    return program.model_proto


@pytest.mark.filterwarnings("ignore")  # deprecations inside the exporter itself
@pytest.mark.parametrize(
    ("axes", "norm"), [((-2, -1), "ortho"), ((-1,), "forward"), ((0, 2, 3), "backward"), ((1, -2), "ortho")]
)
def test_a_real_inverse_transform_is_that_of_pytorch(axes: tuple[int, ...], norm: str) -> None:
    module = Filtered(axes, norm)
    model = write_out_real_inverses(exported(module))
    session = ort.InferenceSession(model.SerializeToString())
    for shape in ((1, 3, 16, 10), (3, 3, 7, 9), (2, 3, 1, 2)):  # even, odd, and with no negative frequencies
        image = torch.rand(*shape)
        (found,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        assert np.abs(found - module(image).numpy()).max() < 1e-5, shape


@pytest.mark.filterwarnings("ignore")  # deprecations inside the exporter itself
def test_a_graph_without_one_is_left_alone() -> None:
    model = exported(nn.Conv2d(3, 3, 1))
    assert write_out_real_inverses(model) is model
