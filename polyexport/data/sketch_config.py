"""Configuration of the sketches: drawings as people make them."""

from dataclasses import dataclass, field, fields

from polyexport.data.drawing_config import DrawingConfig

__all__ = ["SketchConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SketchConfig:
    """Variety of the sketches. Fields are probabilities in [0, 1] unless their description says otherwise."""

    plain: float = 0.25
    """Probability of a plain outline, drawn as ``outlines`` describes, in place of a sketch."""

    icons: float = 0.4
    """Probability that a subject is an icon of the Lucide collection: open and closed strokes."""

    symbols: float = 0.2
    """Probability that a subject is a symbol of the Material Design Icons font."""

    letters: float = 0.1
    """Probability that a subject is the outline of a letter. The other subjects are outlines of single shapes."""

    details: float = 0.5
    """Probability of lines, dots, letters or pictures inside the outline of a single shape."""

    several: float = 0.15
    """Probability of two to four subjects in one sketch, apart, nested or overlapping."""

    open_lines: float = 0.25
    """Probability of open lines beside and across the subjects."""

    cut_by_page: float = 0.15
    """Probability that the edge of the page cuts the subject."""

    gapped: float = 0.5
    """Probability of lines with gaps, of one of the four kinds whose relative frequencies follow. Solid parts have
    none."""

    cut_gaps: float = 0.25
    """Relative frequency of one to four gaps with cut ends, each up to 6 % of the page's side long."""

    bitten_gaps: float = 0.25
    """Relative frequency of one to four gaps that a round eraser made, each up to 7 % of the page's side wide, and
    wider than the stroke."""

    large_gaps: float = 0.25
    """Relative frequency of one gap of 6 to 16 % of the page's side."""

    dashes: float = 0.25
    """Relative frequency of many gaps: dashed outlines, and outlines of which many short pieces are missing."""

    wobbly: float = 0.4
    """Probability of lines that are bent by a smooth random displacement, as by a hand."""

    uneven_width: float = 0.25
    """Probability of strokes whose width varies along their length."""

    doubled: float = 0.08
    """Probability that every line is drawn twice, not quite at the same place."""

    pencil: float = 0.15
    """Probability of gray pencil of varying darkness, with grain."""

    marker: float = 0.05
    """Probability of the ink of a translucent marker: the paper shows through all of it alike."""

    colored_ink: float = 0.15
    """Probability of colored or light ink in place of black or gray ink."""

    aliased: float = 0.12
    """Probability of strokes without anti-aliasing."""

    paper: float = 0.35
    """Probability of visible paper: a color cast, a gradient, shadows, folds, ruled or squared lines."""

    camera: float = 0.35
    """Probability of what scanners, phones and file formats do: noise, blur, JPEG, WebP, a low resolution scaled up."""

    ruled: float = 0.2
    """Probability of ruled or squared lines on paper that is visible."""

    open_subjects: float = 0.3
    """Probability that a drawing that encloses hardly any paper is kept; otherwise another one is drawn."""

    inverted: float = 0.03
    """Probability of light lines on a dark page."""

    empty: float = 0.04
    """Probability of a page without a drawing: blank, written on, dark all over, or a photo of something else."""

    min_stroke: float = 0.008
    """Narrowest stroke, as a fraction above 0 of the page's side; none is thinner than a hairline of 0.7 pixels."""

    max_stroke: float = 0.09
    """Widest stroke, as a fraction of the page's side."""

    outlines: DrawingConfig = field(default_factory=DrawingConfig)
    """Configuration of the plain outlines, and of the fill colors of all drawings."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, float | int) and not 0 <= value <= 1:
                raise ValueError(f"{each.name} must be in [0, 1], got {value}")
        if self.icons + self.symbols + self.letters > 1 + 1e-9:
            raise ValueError("icons, symbols and letters are probabilities of one choice: their sum must be at most 1")
        if self.gapped and not self.cut_gaps + self.bitten_gaps + self.large_gaps + self.dashes:
            raise ValueError("give one of cut_gaps, bitten_gaps, large_gaps and dashes, or gapped=0")
        if not 0 < self.min_stroke <= self.max_stroke:
            raise ValueError(f"min_stroke must be in (0, max_stroke {self.max_stroke}], got {self.min_stroke}")
