"""Proof of an export: every stage is compared with the PyTorch module; a failure names the first wrong node."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from polyexport.errors import ModelError, ParityError, reason_of
from polyexport.export.graph.trace import Traced, float_output, trace, trace_encoder
from polyexport.export.precision import REFERENCE
from polyexport.export.precision.precision import Precision
from polyexport.export.proof.cause import find_cause, program_values
from polyexport.export.proof.parity import CPU_OPTIONS, Candidate, ParityOptions, Reference, compare
from polyexport.export.source.source import Source
from polyexport.imaging.pixels import Pixels
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import ColorInput, Embedding
from polyexport.model.contract import Parity, StageParity
from polyexport.runtime.session import SessionOptions

__all__ = ["Proof", "embedding_of"]

_ENCODER_TOLERANCE = 1e-4  # maximum difference, relative to the largest value in the embedding
_REMEDY = "nothing was written; export with other versions of torch or onnxsim"


def embedding_of(source: Source) -> Embedding:
    """Return the table of all colors, or the encoder, that makes ``color_embedding`` of a color, for the contract.

    Raises:
        ModelError: nobody said which submodule embeds the color, it is not one vector per color, or it cannot be
            exported.
    """
    own = source.condition().fields.embedding
    if own is not None:
        return own
    if not source.embedding:
        raise ModelError(
            "which submodule makes the color embedding is not known",
            remedy="name it with --embedding, such as color.mlp",
        )
    conditions = source.condition_tensor(source.condition().proof_rows())
    with torch.inference_mode():
        embedded = source.embedder()(conditions)
    if not isinstance(embedded, torch.Tensor) or embedded.ndim != 2 or len(embedded) != len(conditions):
        raise ModelError(
            f"submodule {source.embedding} gives {list(getattr(embedded, 'shape', []))} for {len(conditions)} colors",
            remedy="name one with --embedding that gives [batch, D]",
        )
    if source.palette:  # the conditions are all colors that the network knows
        return Embedding.from_table(embedded.numpy())
    encoder = trace_encoder(source).SerializeToString(deterministic=True)
    return Embedding(dim=embedded.shape[1], encoder=base64.b64encode(encoder).decode())


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """A network, its traced program and its PyTorch outputs, with which graphs are compared."""

    source: Source
    reference: Reference
    condition: Condition
    """The condition as the graphs take it."""

    traced: Traced
    options: SessionOptions = CPU_OPTIONS
    """Execution provider that the graphs run on."""

    @classmethod
    def of(
        cls,
        source: Source,
        color_input: ColorInput = "color",
        *,
        embedding: Embedding | None = None,
        parity: ParityOptions | None = None,
        images: Sequence[Pixels] = (),
        options: SessionOptions = CPU_OPTIONS,
    ) -> "Proof":
        """Trace the network and run it on everything that the graphs will be compared on.

        Args:
            source: The network.
            color_input: Second input of the graphs: the color, or its embedding.
            embedding: The embedding of an earlier export, for ``color_input`` ``embedding``; made anew if None.
            parity: Sizes, batches and number of drawings; the defaults of ``ParityOptions`` if None.
            images: Images to compare on, uint8 [H, W, 3] each; generated drawings if empty.
            options: Execution provider that the graphs run on.

        Raises:
            ModelError: the network cannot be traced.
            ParityError: it fails on a size that it should take, or its encoder cannot be exported faithfully.
        """
        if color_input == "embedding" and embedding is None:
            embedding = embedding_of(source)
        condition = source.condition(embedding)
        traced = trace(source, condition)
        proof = cls(
            source=source,
            reference=Reference.of(source, parity or ParityOptions(), images),
            condition=condition,
            traced=traced,
            options=options,
        )
        if embedding is not None and embedding.encoder:
            proof.check_encoder()
        return proof

    def encode(self, conditions: NDArray[Any]) -> NDArray[Any]:
        """Turn conditions of the module, [K, ...], into rows of the graph's second input, [K, ...], as users do."""
        return self.condition.encode_trained(conditions)

    def candidate(self, name: str, model: onnx.ModelProto, *, many_colors: bool = False) -> Candidate:
        """Describe a graph so that it can be compared."""
        return Candidate(
            name=name,
            model=model,
            float_output=float_output(model, self.source),
            color_name=self.condition.name,
            rows=self.encode(self.reference.colors),
            many_colors=many_colors,
        )

    def check_encoder(self) -> None:
        """Compare the encoder with the submodule that it stands for.

        Raises:
            ParityError: they differ.
        """
        colors = self.reference.colors
        with torch.inference_mode():
            true = self.source.embedder()(self.source.condition_tensor(colors)).numpy()
        difference, largest = float(np.max(np.abs(self.encode(colors) - true))), float(np.max(np.abs(true)))
        if not difference <= _ENCODER_TOLERANCE * max(1.0, largest):
            raise ParityError(
                f"stage encoder differs from the PyTorch model: max abs diff {difference:.3g}", remedy=_REMEDY
            )

    def check(self, candidate: Candidate, precision: Precision = REFERENCE) -> StageParity:
        """Compare a stage with the module.

        Raises:
            ParityError: it differs by more than its precision may; the message names every miss and the first node
                whose output is wrong.
        """
        try:
            stage = compare(self.reference, candidate, self.options)
        except ParityError as error:
            raise ParityError(f"{error.message}; {self._cause(candidate, precision)}", remedy=error.remedy) from error
        faults = precision.tolerance.faults(stage)
        if faults:
            raise ParityError(
                f"stage {candidate.name} differs from the PyTorch model: {', '.join(faults)}; "
                f"{self._cause(candidate, precision)}",
                remedy=_REMEDY,
            )
        return stage

    def _cause(self, candidate: Candidate, precision: Precision) -> str:
        """Describe the first wrong node, found with one image in one color, then two, at every size."""
        agreed = 0
        for pixels in self.reference.pixels.values():
            for count in (1, 2):
                images = np.stack([pixels[i % len(pixels)] for i in range(count)])
                rows = candidate.rows[np.arange(count) % len(candidate.rows)]
                try:
                    values = program_values(self.traced.program, images, rows)
                except Exception as error:  # noqa: BLE001 - a guard that the tracer wrote, or the network's own error
                    return f"the traced program itself fails on batch {count}: {reason_of(error)}"
                cause = find_cause(replace(candidate, rows=rows), values, images, precision.node_tolerance)
                if cause is not None:
                    return f"first wrong node: {cause}"
                agreed += 1
        return f"every tensor that can be compared agrees with the traced program on {agreed} inputs"

    def parity(self, stages: Sequence[StageParity]) -> Parity:
        """Return the certificate of the stages that were proven."""
        return Parity(
            reference=f"PyTorch {torch.__version__}, CPU, float32",
            candidate=f"ONNX Runtime {ort.__version__}, {self.options.provider}",
            stages=tuple(stages),
            images=self.reference.images,
            colors=len(self.reference.colors),
            batches=self.reference.options.batches,
            sizes=tuple(self.reference.pixels),
        )
