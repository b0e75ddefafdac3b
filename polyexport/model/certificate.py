"""The certificate of a model file: how its export was compared with the network, and what a reduced precision costs."""

from dataclasses import dataclass

__all__ = ["Fidelity", "ImageFidelity", "Parity", "Quality", "StageParity"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StageParity:
    """One stage of an export, compared with the PyTorch model. Float outputs are scaled to [-1, 1] before that."""

    name: str
    """Name of the stage: ``raw``, ``simplified``, ``palette``, or the name of a reduced precision."""

    nodes: int
    """Number of nodes of the graph."""

    max_abs_diff: float
    """Largest absolute difference of the float outputs."""

    uint8_max_diff: int
    """Largest difference of the 8-bit outputs, in levels."""

    uint8_equal: float
    """Fraction of 8-bit values that are equal."""

    psnr_db: float
    """PSNR of all 8-bit values together, decibels, at most 100."""

    values: int
    """Number of values that were compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """The comparison of the model with the PyTorch model that it was exported from."""

    reference: str
    """Runtime of the PyTorch model, which ran in float32."""

    candidate: str
    """Runtime of the ONNX model."""

    stages: tuple[StageParity, ...]
    """Stages of the export in the order in which they were made; the last one is the model itself."""

    images: int
    """Number of images of each size."""

    colors: int
    """Number of settings of the conditions, such as colors."""

    batches: tuple[int, ...]
    """Batch sizes, images per call."""

    sizes: tuple[tuple[int, int], ...]
    """Heights and widths of the images, pixels."""

    @property
    def final(self) -> StageParity:
        """The comparison of the model itself, the last stage."""
        return self.stages[-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fidelity:
    """Images of a reduced precision, compared with those of the fp32 graph, on drawings of one kind.

    They are the network's pictures. Where the result is a fill they are the finished fills, with the edges of their
    drawings, and a PSNR to the true images is that of all pixels of the kind together: in a mean, the fills that are
    exact, at 100 dB, would outweigh those that are not.
    """

    data: str
    """Name of the kind of drawings."""

    images: int
    """Number of drawings."""

    psnr_to_fp32_mean_db: float
    """Mean PSNR against the images of the fp32 graph, decibels."""

    psnr_to_fp32_min_db: float
    """Lowest PSNR against an image of the fp32 graph, decibels."""

    fp32_psnr_mean_db: float
    """Mean PSNR of the fp32 graph against the true images, decibels."""

    psnr_mean_db: float
    """Mean PSNR of the reduced precision against the true images, decibels."""

    fp32_within_8: float
    """Fraction of the fp32 graph's pixels that are within 8 levels of the true image in every channel."""

    within_8: float
    """Fraction of the reduced precision's pixels that are within 8 levels of the true image in every channel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """Scores of this model on a data set."""

    data: str
    """Name of the data set."""

    images: int
    """Number of images."""

    psnr_mean_db: float
    """Mean PSNR against the true images, decibels."""

    psnr_min_db: float
    """Lowest PSNR of an image, decibels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFidelity:
    """Pictures of a reduced precision, compared with those of the fp32 graph on images that the user gave.

    Of large images a part is compared. Where images also served to calibrate the graph, those are every second one,
    and the others are compared.
    """

    images: int
    """Number of images."""

    sha256: str
    """SHA-256 of the decoded images, lowercase hex."""

    psnr_mean_db: float
    """Mean PSNR against the pictures of the fp32 graph, decibels, at most 100."""

    psnr_min_db: float
    """Lowest PSNR against a picture of the fp32 graph, decibels."""

    ssim_mean: float
    """Mean structural similarity with the pictures of the fp32 graph, at most 1."""

    ssim_min: float
    """Lowest structural similarity with a picture of the fp32 graph."""

    float_layers: tuple[str, ...] = ()
    """Names of the layers that were left in float."""

    reduced_layers: int = 0
    """Number of layers that compute in the reduced precision."""

    agreement: float | None = None
    """For labels the fraction of equal ones; for masks the intersection over union of what is above half, with all
    images together; None for pictures."""
