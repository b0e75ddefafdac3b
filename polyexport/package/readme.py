"""A contract -> the README of a package: how to run it, and what each file is."""

from polyexport.model.contract import Contract
from polyexport.package.card import inputs_table, table

__all__ = ["readme"]


def readme(contract: Contract, *, name: str) -> str:
    """The text of ``README.md``.

    Args:
        contract: of the packaged model.
        name: of the model in the Triton repository.
    """
    condition = contract.condition
    color = condition.example()
    parts = [f"# {name}", "A network that colors outline drawings, and what it takes to run it anywhere."]
    if color is None:
        parts.append(
            f"It takes vectors, `{condition.name}`, and knows no color by name: run `model.onnx` with ONNX Runtime on "
            "the tensors below. `run.py` needs a model that knows colors."
        )
        parts.append("```sh\nsha256sum -c SHA256SUMS\npip install -r requirements.txt\n```")
    else:
        parts.append(
            "```sh\nsha256sum -c SHA256SUMS\npip install -r requirements.txt\n"
            f'python run.py sample.png --color "{color}" -o colored\n```'
        )
        parts.append(
            f"The picture is `colored/{color.lstrip('#')}/sample.png`. Give any number of drawings, and `--color` as "
            f"often as you like{' (the palette is in `MODEL_CARD.md`)' if contract.palette else ''}. Python 3.11 or "
            "newer. On an NVIDIA GPU: `pip install 'onnxruntime-gpu[cuda,cudnn]'` in place of `onnxruntime`, and "
            "`--provider cuda`."
        )
    parts += [
        "## Triton",
        f"`tritonserver --model-repository=triton` serves `{name}` with dynamic batching. Requests and responses:",
        inputs_table(contract),
    ]
    if not condition.axes:
        parts.append(f"Triton knows no tensor of the batch axis alone: to it, `{condition.name}` is [batch, 1].")
    if not contract.fixed_size:
        parts.append(
            "Requests of the same height and width share a batch. Memory grows with `max_batch_size` times the pixels "
            "of a request: lower it before you serve large drawings."
        )
    parts += [
        "## Files",
        table(
            ("file", "what"),
            (
                ("`model.onnx`", "the model: graph, weights, and its contract in the metadata"),
                ("`MODEL_CARD.md`", "inputs, palette, parity, quality"),
                ("`run.py`", "drawings in, pictures out; needs the packages of `requirements.txt` alone"),
                ("`runtime_modules/`", "the modules of polyexport that `run.py` imports, unchanged"),
                ("`requirements.txt`", "the packages that `run.py` and `runtime_modules/` import"),
                ("`sample.png`", "a drawing to try it on"),
                (f"`triton/{name}/`", "a Triton model repository; its `1/model.onnx` is the same file"),
                ("`SHA256SUMS`", "of every other file: finds damage, and proves nothing about who made them"),
                (
                    "`LICENSE`",
                    "of the code here and of the models that polyexport ships; weights of your own are yours",
                ),
            ),
        ),
    ]
    return "\n\n".join(parts) + "\n"
