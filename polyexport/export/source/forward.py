"""Meaning of the arguments of a network's forward: the image, conditions, fixed values, and defaults that stay."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from polyexport.errors import UsageError
from polyexport.export.source.condition_spec import ConditionSpec
from polyexport.export.source.construct import signature_text
from polyexport.export.source.spec import NetworkSpec
from polyexport.export.source.texts import expect

__all__ = ["COLOR_NAMES", "Call", "bind"]

COLOR_NAMES = frozenset(
    f"{before}{word}{after}"
    for word in ("color", "colour", "rgb")
    for before in ("", "target_", "fill_")
    for after in ("", "s", "_idx", "_index", "_indices", "_id", "_ids", "_vector", "_vec", "_embedding", "_emb",
                  "_code", "_label", "_labels", "_onehot", "_one_hot")
)  # fmt: skip
"""Names of an argument that is a color without a further word. All others are asked for."""

_IMAGE_NAMES = ("image", "img")
_STEP_NAMES = frozenset(("t", "timestep", "timesteps", "time_step", "time_steps", "diffusion_step", "noise_step"))
_SUGGESTIONS = (
    (("sigma", "noise", "noise_level", "strength", "level", "quality", "qf", "scale", "factor", "exposure", "gamma"),
     "number:range=0..1"),
    (("style", "label", "labels", "domain", "class_id", "class_label", "class_labels", "category"),
     "label:labels=NAME|NAME"),
    (("z", "latent", "code", "style_code", "vector"), "vector:dim=D"),
    (("mask", "masks", "trimap", "hint", "depth", "edge", "edges"), "image:channels=1"),
    (("ref", "reference", "guide", "background", "bgr", "bg", "second", "image2", "img2", "other", "exemplar"),
     "image:channels=3"),
)  # fmt: skip
"""Names of arguments and what is offered for them; a user says whether it is so."""

_Place = int | str
_Parameters = Sequence[inspect.Parameter]


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """The way in which forward is called.

    A place is the name of an argument, or a position where forward has none.
    """

    image: _Place
    conditions: tuple[ConditionSpec, ...]
    """In the order of the arguments, those that are joined to the image's channels last."""

    places: tuple[_Place | None, ...]
    """Place of each condition; None if it is joined to the image's channels."""

    fixed: dict[_Place, Any]
    in_order: bool
    """The image and the conditions are the first arguments, in this order, and nothing is fixed."""

    remarks: tuple[str, ...]


def bind(spec: NetworkSpec, module: nn.Module, *, names_colors: bool) -> Call:
    """Find out what each argument of forward is.

    Args:
        spec: What the user says.
        module: The network.
        names_colors: Whether the file of weights names colors.

    Raises:
        UsageError: An argument that is not there, or one that forward needs and nobody says what it is.
    """
    try:
        parameters = [each for each in inspect.signature(module.forward).parameters.values() if each.name != "self"]
    except (TypeError, ValueError):
        parameters = [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
    return _Binding(spec, module, parameters).bind(names_colors)


class _Binding:
    def __init__(self, spec: NetworkSpec, module: nn.Module, parameters: _Parameters) -> None:
        self._spec, self._forward = spec, f"forward of {spec.network}"
        self._signature = signature_text(module.forward)
        self._named = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
        self._more_positions = any(each.kind is each.VAR_POSITIONAL for each in parameters)
        self._more_names = any(each.kind is each.VAR_KEYWORD for each in parameters)
        self._taken: dict[_Place, str] = {}
        self._remarks: list[str] = []

    def bind(self, names_colors: bool) -> Call:
        spec = self._spec
        fixed = {self._take(name, f"--fixed {name}"): value for name, value in spec.fixed.items()}
        given: dict[ConditionSpec, _Place | None] = {}
        waiting = []
        for condition in spec.conditions:
            if condition.as_form == "channels":
                given[condition] = None
            elif condition.argument or self._has(condition.name):
                given[condition] = self._take(condition.argument or condition.name, condition.name)
            else:
                waiting.append(condition)
        image = self._image()
        for condition in waiting:
            given[condition] = self._take(self._only_left(condition.name, condition.kind), condition.name)
        if not any(condition.kind == "color" for condition in given):
            color = self._color(names_colors)
            if color is not None:
                given[color] = self._take(color.argument, "the color")
        self._ask()
        order = {each.name: number for number, each in enumerate(self._named)}
        ordered = sorted(given, key=lambda each: _rank(given[each], order))
        leading = [self._place(each) for each in self._named if each.kind is not each.KEYWORD_ONLY]
        if self._more_positions:
            leading += range(len(leading), len(ordered) + 1)
        places = [given[each] for each in ordered]
        return Call(
            image=image,
            conditions=tuple(ordered),
            places=tuple(places),
            fixed=fixed,
            in_order=[image, *places] == leading[: 1 + len(places)] and not fixed,
            remarks=tuple(self._remarks),
        )

    def _has(self, name: str) -> bool:
        return any(each.name == name for each in self._named)

    def _free(self) -> list[inspect.Parameter]:
        return [each for each in self._named if self._place(each) not in self._taken]

    def _needed(self) -> list[inspect.Parameter]:
        return [each for each in self._free() if each.default is each.empty]

    def _place(self, parameter: inspect.Parameter) -> _Place:
        if parameter.kind is parameter.POSITIONAL_ONLY or (
            self._more_positions and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ):
            return self._named.index(parameter)  # what follows may be given by position alone
        return parameter.name

    def _take(self, argument: str, what: str) -> _Place:
        place = self._resolved(argument)
        expect(
            place is not None,
            f"{self._forward} has no argument {argument[:60]!r}",
            f"it takes {self._signature}; give one of these by name, or its position from 0",
        )
        assert place is not None
        expect(
            place not in self._taken,
            f"the argument {argument[:60]} of {self._forward} is both {self._taken.get(place)} and {what}",
            "give it to one of them",
        )
        self._taken[place] = what
        return place

    def _resolved(self, argument: str) -> _Place | None:
        for number, each in enumerate(self._named):
            if each.name == argument or (argument == str(number) and each.kind is not each.KEYWORD_ONLY):
                return self._place(each)
        if argument.isdigit() and self._more_positions:
            return int(argument)
        return argument if self._more_names and argument.isidentifier() else None

    def _image(self) -> _Place:
        spec, free = self._spec, [each for each in self._free() if each.kind is not each.KEYWORD_ONLY]
        if spec.image_argument:
            return self._take(spec.image_argument, "the image")
        named = [each for each in self._free() if each.name in _IMAGE_NAMES]
        if not free and not named and self._more_positions:
            return self._take("0", "the image")
        expect(
            bool(free or named),
            f"{self._forward} takes {self._signature}, expected an image",
            "name the argument with --image-argument",
        )
        chosen = named[0] if len(named) == 1 else free[0]
        if free and chosen is not free[0]:
            self._remarks.append(f"took the argument {chosen.name} for the image (else: --image-argument NAME)")
        return self._take(chosen.name, "the image")

    def _only_left(self, name: str, kind: str) -> str:
        """Return the argument that a condition must mean, whose name no argument has."""
        needed = self._needed()
        if len(needed) == 1:
            self._remarks.append(
                f"took the argument {needed[0].name} for {name} (else: --condition {name}={kind}:argument=NAME)"
            )
            return needed[0].name
        if not self._named and self._more_positions:
            return str(1 + max((place for place in self._taken if isinstance(place, int)), default=0))
        raise UsageError(
            f"{self._forward} has no argument {name!r}; it takes {self._signature}",
            remedy=f"say which one it is: --condition '{name}={kind}:argument=NAME,...', or as=channels if it is "
            "joined to the image",
        )

    def _color(self, names_colors: bool) -> ConditionSpec | None:
        spec, needed = self._spec, self._needed()
        free = [each for each in self._free() if each.name in COLOR_NAMES]
        color = ConditionSpec(name="color", kind="color")
        if spec.says_color:
            if len(free) == 1:
                return replace(color, argument=free[0].name)
            return replace(color, argument=self._only_left_for_color(needed))
        certain = [each for each in needed if each.name in COLOR_NAMES]
        if len(certain) != 1 and names_colors and len(needed) == 1 and needed[0].name not in _STEP_NAMES:
            certain = needed
        if len(certain) != 1:
            return None
        name = certain[0].name
        self._remarks.append(
            f"took the argument {name} for a color (else: --condition {name}=KIND or --fixed {name}=VALUE)"
        )
        form = "one-hot" if name.endswith(("_onehot", "_one_hot")) else ""
        return replace(color, argument=name, form=form)

    def _only_left_for_color(self, needed: _Parameters) -> str:
        if len(needed) == 1:
            return needed[0].name
        if not needed and self._more_positions:
            return "1"
        raise UsageError(
            f"{self._forward} takes {self._signature}, and nothing says which argument is the color",
            remedy="name it: --condition color=color:argument=NAME, or as=channels if it is joined to the image",
        )

    def _ask(self) -> None:
        needed = self._needed()
        steps = [each.name for each in needed if each.name in _STEP_NAMES]
        if steps:
            raise UsageError(
                f"{self._forward} takes {self._signature}: its {steps[0]} is that of a sampler, which calls a network "
                "many times, and one call makes no image",
                remedy=f"if one call does, fix the step with --fixed {steps[0]}=VALUE",
            )
        if needed:
            name = needed[0].name
            more = f" and {len(needed) - 1} more" if len(needed) > 1 else ""
            kinds = [f"{name}={kind}" for names, kind in _SUGGESTIONS if name.lower() in names]
            offer = f"such as --condition '{kinds[0]}', " if kinds else ""
            offer += "" if kinds else f"--condition {name}=KIND with color, label, number, vector or image, "
            raise UsageError(
                f"{self._forward} takes {self._signature}, and nothing says what its {name}{more} is",
                remedy=f"say it, {offer}or --fixed {name}=VALUE",
            )
        left = self._free()
        if left:
            shown = ", ".join(f"{each.name}={str(each.default)[:20]}" for each in left[:4])
            self._remarks.append(
                f"left {shown} of forward at the default (else: --fixed {left[0].name}=VALUE or "
                f"--condition {left[0].name}=KIND)"
            )


def _rank(place: _Place | None, order: dict[str, int]) -> tuple[int, int]:
    if place is None:
        return 2, 0
    return (0, place) if isinstance(place, int) else (0, order[place]) if place in order else (1, 0)
