"""What travels comes back as it was."""

from hypothesis import given
from hypothesis import strategies as st

from polyexport.cluster.messages import Answer, BlockAnswer, Task, absolute
from polyexport.imaging.color import Color
from polyexport.model.settings import Setting
from polyexport.pipeline.outputs.disk import UnpublishedOutput
from polyexport.pipeline.outputs.journal import Record
from polyexport.pipeline.plan import Item
from polyexport.pipeline.results import Timings

# Names of files may hold bytes that are not text, which Python keeps as surrogates.
texts = st.text(st.characters(), max_size=20) | st.just("caf\udce9.png")
bytes_of_color = st.integers(0, 255)
colors = st.builds(Color, texts, st.tuples(bytes_of_color, bytes_of_color, bytes_of_color))
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.one_of(colors, texts, numbers, st.lists(numbers, min_size=1, max_size=3).map(tuple))
settings = st.builds(Setting, texts, st.lists(values, max_size=3).map(tuple))
records = st.builds(Record, texts, texts, texts, texts)
milliseconds = st.floats(0, 1e6)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    given = tuple(draw(st.lists(settings, min_size=1, max_size=4)))
    item = Item(draw(texts), draw(texts), given, draw(texts), tuple(draw(st.lists(texts, max_size=2))))
    count = len(item.settings)
    prior_results = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    return Task(item, tuple(prior_results), tuple(draw(st.none() | records) for _ in range(count)))


@given(tasks())
def test_a_task_survives(task: Task) -> None:
    assert Task.from_json(task.to_json()) == task
    assert task.to_json().isascii()


answers = st.builds(
    Answer,
    st.sampled_from(["ok", "failed", "skipped"]),
    texts,
    st.lists(texts, max_size=3).map(tuple),
    st.builds(Timings, milliseconds, milliseconds, milliseconds, milliseconds, milliseconds),
    st.lists(st.builds(UnpublishedOutput, texts, records, texts, st.booleans()), max_size=3).map(tuple),
)


@given(
    st.builds(BlockAnswer, st.lists(answers, max_size=3).map(tuple), texts, texts, texts, texts, st.integers(0, 255))
)
def test_an_answer_survives(answer: BlockAnswer) -> None:
    assert BlockAnswer.from_json(answer.to_json()) == answer
    assert answer.to_json().isascii()


def test_every_process_reads_the_same_file() -> None:
    assert absolute("a/../b.png").startswith("/")
    assert absolute("s3://bucket/a.png") == "s3://bucket/a.png"
