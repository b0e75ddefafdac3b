"""Tolerances follow from the number formats."""

from polyexport.passport.tolerance import tolerance_for


def test_shorter_formats_are_allowed_more() -> None:
    exact, tf32, bf16 = (tolerance_for("fp32", bits) for bits in (23, 10, 7))
    assert exact.relative < tf32.relative < bf16.relative < 0.2
    assert exact.relative_alone < tf32.relative_alone < bf16.relative_alone < 0.02
    assert exact.relative_alone < exact.relative


def test_a_model_in_fp16_is_as_short_as_tf32() -> None:
    assert tolerance_for("fp16", 23) == tolerance_for("fp32", 10)
    assert tolerance_for("fp16", 7) == tolerance_for("fp32", 7)


def test_int8_is_allowed_steps_and_no_more_in_a_node_alone() -> None:
    exact, int8 = tolerance_for("fp32", 23), tolerance_for("int8", 23)
    assert int8.levels > exact.levels
    assert int8.relative_alone == exact.relative_alone
    assert int8.levels_alone == 1
