"""The README of a package: how to run the model, and what each file is, from the contract."""

import shlex
from typing import Any

from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import LabelFields, VectorFields
from polyexport.model.contract import Contract
from polyexport.package.card import inputs_table, purpose, table

__all__ = ["readme", "sample_name"]


def readme(contract: Contract, *, name: str, signature: str | None = None) -> str:
    """Return the text of ``README.md``.

    Args:
        contract: Contract of the packaged model.
        name: Name of the model in the Triton repository.
        signature: Name of the file with the model's signature; None if the package holds none.
    """
    conditions = contract.built_conditions()
    parts = [f"# {name}", f"{purpose(contract)}, with everything that is needed to run it."]
    unknown = [condition for condition in conditions if condition.textual and condition.example() is None]
    if unknown:
        parts.append(
            f"The model takes embedding vectors, `{unknown[0].name}`, and defines no colors: run `model.onnx` with "
            "ONNX Runtime on the tensors below. `run.py` works only with models that define colors."
        )
        parts.append("```sh\nsha256sum -c SHA256SUMS\npip install -r requirements.txt\n```")
    else:
        parts += _usage(contract, conditions)
    if signature is not None:
        parts.append(
            "The model is signed. With a public key that you took from a source that you trust, `polyexport verify "
            f"model.onnx --key KEY` and `model_signing verify key model.onnx --signature {signature} --public_key KEY` "
            "show whether its owner signed this model. `run.py --require-signature KEY`, with `pip install "
            "cryptography`, refuses any other model; the signature does not cover `run.py` and the other files."
        )
    batches = "one image at a time" if contract.batch_one else "with dynamic batching"
    parts += [
        "## Triton",
        f"`tritonserver --model-repository=triton` serves `{name}` {batches}. Requests and responses:",
        inputs_table(contract),
    ]
    for condition in conditions:
        if not condition.axes and not contract.batch_one:
            parts.append(
                f"Triton has no tensors with a batch axis alone, so a request sends `{condition.name}` as [batch, 1]."
            )
    if contract.result.kind == "fill":
        parts.append(
            "The response is the network's own picture. `run.py` also gives the fill the exact edges of the drawing's "
            "ink, and takes drawings of any size."
        )
    if not contract.fixed_size and not contract.batch_one:
        parts.append(
            "Requests of the same height and width share a batch. Memory grows with `max_batch_size` times the pixels "
            "of a request: lower it before you serve large drawings."
        )
    does = "colors" if contract.version == 2 else "runs the model on"
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
                ("`MODEL_CARD.md`", f"inputs, {'palette, ' if contract.version == 2 else ''}parity, quality"),
                ("`run.py`", f"command line that {does} image files; needs only the packages of `requirements.txt`"),
                ("`runtime_modules/`", "the modules of polyexport that `run.py` imports, unchanged"),
                ("`requirements.txt`", "the packages that `run.py` and `runtime_modules/` import"),
                ("`sample.png`", f"an example {'drawing' if contract.version == 2 else 'image'}"),
                *(
                    (f"`{sample_name(condition)}`", f"its `{condition.name}`")
                    for condition in conditions
                    if sample_name(condition)
                ),
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


def sample_name(condition: Condition[Any]) -> str:
    """Return the name of the file with the golden sample's value of a condition; empty if the command line holds it."""
    if isinstance(condition.fields, VectorFields):
        return f"sample-{condition.name}.txt"
    return "" if condition.textual else f"sample-{condition.name}.png"


def _usage(contract: Contract, conditions: tuple[Condition[Any], ...]) -> list[str]:
    """Return the paragraphs that show how ``run.py`` is called."""
    output = "colored" if contract.color is not None else "results"
    words = [word for condition in conditions for word in _words(condition)]
    folder = ",".join(
        str(condition.example()).lstrip("#") if isinstance(condition, ColorCondition) else _folder(condition, contract)
        for condition in conditions
        if condition.textual
    )
    command = " ".join(["python run.py sample.png", *words, f"-o {output}"])
    made = "/".join(part for part in (output, folder, "sample.png") if part)
    if contract.version == 2:
        given = "Give any number of drawings, and `--color` as often as you like"
        given += f"{' (the palette is in `MODEL_CARD.md`)' if contract.color and contract.color.palette else ''}."
    else:
        given = _advice(contract, conditions)
    notes = (
        f"The output is `{made}`. {given} Python 3.11 or "
        "newer. On an NVIDIA GPU: `pip install 'onnxruntime-gpu[cuda,cudnn]'` in place of `onnxruntime`, and "
        "`--provider cuda`."
    )
    return [f"```sh\nsha256sum -c SHA256SUMS\npip install -r requirements.txt\n{command}\n```", notes]


def _words(condition: Condition[Any]) -> list[str]:
    """Return the words of a command line that give a condition of the golden sample."""
    if isinstance(condition, ColorCondition):
        return [f'--color "{condition.example()}"']
    if not condition.textual:
        return [f"--with {condition.name}={sample_name(condition)}"]
    if isinstance(condition.fields, VectorFields):
        return [f'--set {condition.name}="$(cat {sample_name(condition)})"']
    return [f"--set {condition.name}={condition.example()}"]


def _folder(condition: Condition[Any], contract: Contract) -> str:
    """Return the part of an output's folder that ``_words`` of a condition give."""
    if not isinstance(condition.fields, VectorFields):
        return condition.folder(condition.parse(shlex.split(str(condition.example()))[0]))
    names = [each.name for each in contract.conditions]
    row = condition.encode(contract.golden.values[names.index(condition.name)])
    return condition.folder(tuple(row.tolist()))


def _advice(contract: Contract, conditions: tuple[Condition[Any], ...]) -> str:
    advice = ["Give any number of images."]
    textual = [condition for condition in conditions if condition.textual]
    if textual:
        options = " and ".join(
            "`--color`" if isinstance(condition, ColorCondition) else f"`--set {condition.name}=VALUE`"
            for condition in textual
        )
        lists = any(isinstance(condition.fields, LabelFields) for condition in textual)
        lists = lists or (contract.color is not None and bool(contract.color.palette))
        advice.append(f"Repeat {options} for several values{' (`MODEL_CARD.md` lists them)' if lists else ''}.")
    advice += [
        f"`--with {condition.name}=DIR` takes the picture of each image's name in a folder."
        for condition in conditions
        if not condition.textual
    ]
    if contract.result.kind == "mask" and contract.result.can_be_alpha:
        advice.append("`--result-as alpha` makes the mask the alpha channel of the image.")
    return " ".join(advice)
