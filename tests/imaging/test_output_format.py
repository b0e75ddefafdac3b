import pytest

from polyexport.imaging.output_format import DEFAULT_QUALITY, PNG_OUTPUT, OutputFormat


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": 90}, "does not apply to --format png; it applies to jpeg, webp, avif and same"),
        ({"format": "tiff", "quality": 90}, "does not apply to --format tiff"),
        ({"format": "jpeg", "compression": 1}, "does not apply to --format jpeg; it applies to png, tiff and same"),
        ({"format": "jpeg", "quality": 0}, "--quality is 1 to 100, got 0"),
        ({"format": "jpeg", "quality": 101}, "--quality is 1 to 100, got 101"),
        ({"compression": 10}, "--compression is 0 to 9, got 10"),
        ({"compression": -1}, "--compression is 0 to 9, got -1"),
        ({"format": "jpeg", "alpha": "keep"}, "--alpha keep does not go with --format jpeg"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OutputFormat(**options)  # type: ignore[arg-type]


def test_the_recipe_has_what_is_not_the_default() -> None:
    assert PNG_OUTPUT.recipe() == {}
    assert OutputFormat(format="webp", quality=DEFAULT_QUALITY).recipe() == {"format": "webp"}
    given = OutputFormat(format="same", quality=3, compression=0, metadata="strip", color_profile="keep", alpha="keep")
    assert given.recipe() == {
        "format": "same",
        "quality": 3,
        "compression": 0,
        "metadata": "strip",
        "color_profile": "keep",
        "alpha": "keep",
    }
