import pytest

from polyexport.model.macs import node_macs


@pytest.mark.parametrize(
    ("operator", "first", "second", "output", "macs"),
    [
        ("Conv", (1, 3, 8, 8), (16, 3, 3, 3), (1, 16, 8, 8), 16 * 8 * 8 * 27),
        ("Conv", (2, 16, 8, 8), (16, 1, 3, 3), (2, 16, 8, 8), 2 * 16 * 8 * 8 * 9),
        ("ConvTranspose", (1, 16, 4, 4), (16, 8, 2, 2), (1, 8, 8, 8), 16 * 4 * 4 * 8 * 4),
        ("Gemm", (1, 3), (3, 64), (1, 64), 3 * 64),
        ("MatMul", (2, 5, 7), (7, 4), (2, 5, 4), 2 * 5 * 7 * 4),
    ],
)
def test_by_hand(
    operator: str, first: tuple[int, ...], second: tuple[int, ...], output: tuple[int, ...], macs: int
) -> None:
    assert node_macs(operator, first, second, output) == macs


def test_a_transposed_input_is_summed_over_its_first_axis() -> None:
    assert node_macs("Gemm", (7, 5), (7, 4), (5, 4), transposed=True) == 5 * 7 * 4
