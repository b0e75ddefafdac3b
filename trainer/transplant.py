"""Start of a network of patches from a trained network of pixels: all levels but the finest are taken over."""

from dataclasses import replace

from trainer.network import ConditionalUNet, ModelConfig

__all__ = ["can_transplant", "transplant", "without_finest_level"]


def without_finest_level(config: ModelConfig) -> ModelConfig:
    """Return the configuration of a network of patches of two pixels that takes the place of one of single pixels.

    Raises:
        ValueError: The network has patches or a context, or too few levels to lose one.
    """
    if config.patch != 1 or config.context or len(config.channels) < 3:
        raise ValueError(
            "a network of patches starts from one of single pixels that has at least three levels and no context; "
            f"got patches of {config.patch}, {len(config.channels)} levels and a context of {len(config.context)}"
        )
    return replace(config, channels=config.channels[1:], patch=2)


def can_transplant(old: ModelConfig, new: ModelConfig) -> bool:
    """Return whether a network of ``new`` is one of ``old`` with patches in place of its finest level."""
    try:
        return without_finest_level(old) == new
    except ValueError:
        return False


def transplant(source: ConditionalUNet, config: ModelConfig) -> ConditionalUNet:
    """Return a network of ``config`` with the weights of all levels of ``source`` but the finest.

    The second level of the source works at half of the resolution, as the first one of a network of patches does. What
    reads the pixels and what writes them is new, with random weights, so that the network has to be trained on.

    Raises:
        ValueError: The configurations do not fit: see ``can_transplant``.
    """
    if not can_transplant(source.config, config):
        raise ValueError(f"{config} is not {source.config} with patches in place of its finest level")
    target = ConditionalUNet(config)
    weights = target.state_dict()
    for name, weight in source.state_dict().items():
        kind, *rest = name.split(".")
        if kind == "encoder":
            name = ".".join([kind, str(int(rest[0]) - 1), *rest[1:]])  # noqa: PLW2901 - one level less
        if kind != "head" and name in weights and weights[name].shape == weight.shape:
            weights[name] = weight
    target.load_state_dict(weights)
    return target.train(source.training)
