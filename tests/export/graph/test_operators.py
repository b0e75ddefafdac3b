"""Operators that PyTorch's exporter does not write by itself, and what ONNX Runtime makes of ours."""

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from polyexport.export.graph.operators import translations


class Computed(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__()
        self.function = function
        self.power = nn.Parameter(torch.full([1], 0.2))

    def forward(self, image: Tensor) -> Tensor:
        return self.function(image) if self.function else image.pow(self.power.item())


@pytest.mark.filterwarnings("ignore")  # deprecations inside the exporter itself
@pytest.mark.parametrize(
    "function",
    [
        pytest.param(None, id="a power that is read from a parameter"),
        pytest.param(lambda image: image**3, id="a power that is a number"),
        pytest.param(lambda image: torch.sort(image, dim=2, stable=True, descending=True)[0], id="values, descending"),
        pytest.param(
            lambda image: torch.sort((image * 4).long(), dim=-1, stable=True)[1].float(), id="places of equal values"
        ),
        pytest.param(lambda image: torch.sort(image, stable=False)[0], id="values, in any order of equal ones"),
    ],
)
def test_an_operator_is_that_of_pytorch(function: Callable[[Tensor], Tensor] | None) -> None:
    module = Computed(function)
    shapes = ({0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")},)
    program = torch.onnx.export(
        module,
        (torch.rand(2, 3, 8, 12),),
        dynamo=True,
        dynamic_shapes=shapes if function else None,
        opset_version=21,
        custom_translation_table=translations(),
        verbose=False,
    )
    assert program is not None
    session = ort.InferenceSession(program.model_proto.SerializeToString())
    image = torch.rand(2, 3, 8, 12)
    (found,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    assert np.abs(found - module(image).detach().numpy()).max() < 1e-6
