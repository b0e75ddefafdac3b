"""Settings of models that take a color, as most tests need them."""

from polyexport.imaging.color import Color, color_of
from polyexport.model.conditions.color_condition import ColorLike
from polyexport.model.settings import Setting


def setting(color: ColorLike) -> Setting:
    """What ``--color`` gives for any color."""
    parsed = color_of(color)
    return Setting(parsed.name, (parsed,))


def color(setting: Setting) -> Color:
    """The color of a setting."""
    [value] = setting.values
    assert isinstance(value, Color)
    return value
