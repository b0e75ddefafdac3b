"""The README of a package: how to run the model, and what each file is, from the contract."""

from polyexport.model.contract import Contract
from polyexport.package.card import inputs_table, table

__all__ = ["readme"]


def readme(contract: Contract, *, name: str, signature: str | None = None) -> str:
    """Return the text of ``README.md``.

    Args:
        contract: Contract of the packaged model.
        name: Name of the model in the Triton repository.
        signature: Name of the file with the model's signature; None if the package holds none.
    """
    condition = contract.condition
    color = condition.example()
    parts = [f"# {name}", "A network that colors outline drawings, with everything that is needed to run it."]
    if color is None:
        parts.append(
            f"The model takes embedding vectors, `{condition.name}`, and defines no colors: run `model.onnx` with ONNX "
            "Runtime on the tensors below. `run.py` works only with models that define colors."
        )
        parts.append("```sh\nsha256sum -c SHA256SUMS\npip install -r requirements.txt\n```")
    else:
        parts.append(
            "```sh\nsha256sum -c SHA256SUMS\npip install -r requirements.txt\n"
            f'python run.py sample.png --color "{color}" -o colored\n```'
        )
        parts.append(
            f"The output is `colored/{color.lstrip('#')}/sample.png`. Give any number of drawings, and `--color` as "
            f"often as you like{' (the palette is in `MODEL_CARD.md`)' if contract.palette else ''}. Python 3.11 or "
            "newer. On an NVIDIA GPU: `pip install 'onnxruntime-gpu[cuda,cudnn]'` in place of `onnxruntime`, and "
            "`--provider cuda`."
        )
    if signature is not None:
        parts.append(
            "The model is signed. With a public key that you took from a source that you trust, `polyexport verify "
            f"model.onnx --key KEY` and `model_signing verify key model.onnx --signature {signature} --public_key KEY` "
            "show whether its owner signed this model. `run.py --require-signature KEY`, with `pip install "
            "cryptography`, refuses any other model; the signature does not cover `run.py` and the other files."
        )
    parts += [
        "## Triton",
        f"`tritonserver --model-repository=triton` serves `{name}` with dynamic batching. Requests and responses:",
        inputs_table(contract),
    ]
    if not condition.axes:
        parts.append(
            f"Triton has no tensors with a batch axis alone, so a request sends `{condition.name}` as [batch, 1]."
        )
    if contract.result == "fill":
        parts.append(
            "The response is the network's own picture. `run.py` also gives the fill the exact edges of the drawing's "
            "ink, and takes drawings of any size."
        )
    if not contract.fixed_size:
        parts.append(
            "Requests of the same height and width share a batch. Memory grows with `max_batch_size` times the pixels "
            "of a request: lower it before you serve large drawings."
        )
    parts += [
        "## Files",
        table(
            ("file", "content"),
            (
                ("`model.onnx`", "the model: graph, weights, and its contract in the metadata"),
                *(
                    [(f"`{signature}`", "signature of `model.onnx` alone: shows who signed it")]
                    if signature is not None
                    else []
                ),
                ("`MODEL_CARD.md`", "inputs, palette, parity, quality"),
                ("`run.py`", "command line that colors image files; needs only the packages of `requirements.txt`"),
                ("`runtime_modules/`", "the modules of polyexport that `run.py` imports, unchanged"),
                ("`requirements.txt`", "the packages that `run.py` and `runtime_modules/` import"),
                ("`sample.png`", "an example drawing"),
                (f"`triton/{name}/`", "a Triton model repository; its `1/model.onnx` is the same file"),
                (
                    "`SHA256SUMS`",
                    "the SHA-256 of every other file: detects damage, but does not prove who made the files",
                ),
                (
                    "`LICENSE`",
                    "license of the code and of the models that polyexport ships; it does not cover your own weights",
                ),
            ),
        ),
    ]
    return "\n\n".join(parts) + "\n"
