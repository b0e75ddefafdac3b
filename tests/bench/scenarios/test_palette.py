from polyexport.bench.scenarios.palette import Palette
from polyexport.bench.scenarios.scenario import Settings, Subject


def test_a_palette_without_its_graph_is_a_batch(
    subject: Subject, settings: Settings, shapes: list[tuple[int, ...]]
) -> None:
    one, several = Palette(colors=4).measure(subject, settings, print)
    assert (one.name, several.name, several.images) == ("1 color", "4 colors", 4)
    assert (4, 16, 16, 3) in shapes
    assert several.note == "no palette graph"
