"""Proof of an export: every stage is compared with the PyTorch module; a failure names the first wrong node."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch

from polyexport.errors import FrozenSizeError, ModelError, ParityError, reason_of
from polyexport.export.graph.trace import Traced, float_output, trace_encoder, trace_with_fallback
from polyexport.export.precision import REFERENCE
from polyexport.export.precision.precision import Precision
from polyexport.export.proof.cause import Cause, find_cause, program_values
from polyexport.export.proof.diagnosis import (
    Diagnosis,
    diagnose_network,
    diagnose_sensitivity,
    diagnose_tracing,
    remedy_of,
)
from polyexport.export.proof.examples import Example, stacked
from polyexport.export.proof.local_cause import find_local_cause
from polyexport.export.proof.own_images import OwnImages
from polyexport.export.proof.parity import CPU_OPTIONS, Candidate, ParityOptions, Reference, compare
from polyexport.export.source.source import Source
from polyexport.model.certificate import Parity, StageParity
from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import ColorInput, Embedding
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
    color = _color_of(source.built_conditions())
    if color is None:
        raise ModelError("the network takes no color", remedy="leave out --color-input embedding")
    own = color.fields.embedding
    if own is not None:
        return own
    if not source.embedding:
        raise ModelError(
            "which submodule makes the color embedding is not known",
            remedy="name it with --embedding, such as color.mlp",
        )
    (conditions,) = source.condition_tensors((color.proof_rows(),))
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


def _color_of(conditions: Sequence[Condition[Any]]) -> ColorCondition | None:
    return next((each for each in conditions if isinstance(each, ColorCondition)), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """A network, its traced program and its PyTorch outputs, with which graphs are compared."""

    source: Source
    """The network, as far as it let itself be traced."""

    reference: Reference
    conditions: tuple[Condition[Any], ...]
    """The conditions as the graphs take them."""

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
        own: OwnImages | None = None,
        options: SessionOptions = CPU_OPTIONS,
    ) -> "Proof":
        """Trace the network and run it on everything that the graphs will be compared on.

        Args:
            source: The network.
            color_input: Second input of the graphs: the color, or its embedding.
            embedding: The embedding of an earlier export, for ``color_input`` ``embedding``; made anew if None.
            parity: Sizes, batches and number of drawings; the defaults of ``ParityOptions`` if None.
            own: Images to compare on, the first ``MAX_IMAGES`` of them; generated drawings if None or empty.
            options: Execution provider that the graphs run on.

        Raises:
            ModelError: the network cannot be traced.
            ParityError: it fails on a size that it should take, or its encoder cannot be exported faithfully.
        """
        if color_input == "embedding" and embedding is None:
            embedding = embedding_of(source)
        own = own or OwnImages()
        source, traced = trace_with_fallback(source, embedding)
        proof = cls(
            source=source,
            reference=Reference.of(source, parity or ParityOptions(), own.images, own.pictures, settings=own.settings),
            conditions=source.built_conditions(embedding),
            traced=traced,
            options=options,
        )
        if embedding is not None and embedding.encoder:
            proof.check_encoder()
        return proof

    @property
    def color(self) -> ColorCondition | None:
        """The color as the graphs take it; None if they take none."""
        return _color_of(self.conditions)

    def candidate(self, name: str, model: onnx.ModelProto, *, many_colors: bool = False) -> Candidate:
        """Describe a graph so that it can be compared."""
        return Candidate(
            name=name,
            model=model,
            float_output=float_output(model, self.source),
            output=self.source.output_name,
            conditions=self.conditions,
            many_colors=many_colors,
        )

    def check_encoder(self) -> None:
        """Compare the encoder with the submodule that it stands for.

        Raises:
            ParityError: they differ.
        """
        assert self.color is not None  # an encoder is that of a color
        rows = self.color.trained.proof_rows()
        with torch.inference_mode():
            true = self.source.embedder()(*self.source.condition_tensors((rows,))).numpy()
        found = self.color.encode_trained(rows)
        difference, largest = float(np.max(np.abs(found - true))), float(np.max(np.abs(true)))
        if not difference <= _ENCODER_TOLERANCE * max(1.0, largest):
            raise ParityError(
                f"stage encoder differs from {self.source.named}: max abs diff {difference:.3g}", remedy=_REMEDY
            )

    def check(self, candidate: Candidate, precision: Precision = REFERENCE, *, least: bool = False) -> StageParity:
        """Compare a stage with the module.

        Args:
            candidate: The stage.
            precision: Its precision.
            least: Compare on one example of every size: enough to tell in which stage a fault began, where a later
                stage that everything is compared of follows.

        Raises:
            FrozenSizeError: it differs because its trace holds at other sizes only.
            ParityError: it differs by more than its precision may; the message names every miss and its cause, such as
                the first node whose output is wrong, and the remedy fits the cause.
        """
        try:
            stage = compare(self.reference, candidate, self.options, least=least)
        except ParityError as error:
            found = self._diagnosis(candidate, precision)
            kind = FrozenSizeError if found.frozen_size else ParityError
            raise kind(f"{error.message}; {found.text}", remedy=found.remedy) from error
        faults = precision.tolerance.faults(stage, self.source.result.kind)
        if faults:
            found = self._diagnosis(candidate, precision)
            kind = FrozenSizeError if found.frozen_size else ParityError
            raise kind(
                f"stage {candidate.name} differs from {self.source.named}: {', '.join(faults)}; {found.text}",
                remedy=found.remedy,
            )
        return stage

    def _diagnosis(self, candidate: Candidate, precision: Precision) -> Diagnosis:
        """Find out why a stage differs: the network, its trace, one node, or a network that amplifies rounding."""
        every = [_two(examples) for examples in self.reference.examples.values()]
        found = diagnose_network(self.source, every[0])
        for pair in every:
            found = found or diagnose_tracing(self.source, self.traced, self.conditions, pair)
        if found is not None:
            return found
        for pair in every:
            for count in (1, 2):
                try:
                    cause = self._cause(candidate, precision, pair[:count])
                except Exception as error:  # noqa: BLE001 - an operator's own error
                    return Diagnosis(text=f"the traced program fails: {reason_of(error)}", remedy=_REMEDY)
                if cause is not None:
                    return Diagnosis(text=f"first wrong node: {cause}", remedy=remedy_of(cause, candidate.name))
        sensitive = diagnose_sensitivity(self.source, self.traced, every[0])
        agreed = f"every tensor that can be compared agrees with the traced program on {2 * len(every)} inputs"
        return sensitive or Diagnosis(text=agreed, remedy=_REMEDY)

    def _cause(self, candidate: Candidate, precision: Precision, examples: Sequence[Example]) -> Cause | None:
        """Find the first wrong node with some examples."""
        images, rows = stacked(examples)
        inputs = replace(candidate, many_colors=False).feeds(images, rows)
        values = program_values(self.traced.program, candidate.output, *inputs.values())
        feeds = candidate.feeds(images, rows)
        if precision.node_tolerance is None:
            return find_local_cause(candidate, self.traced.program, values, feeds)
        return find_cause(candidate, values, feeds, precision.node_tolerance)

    def parity(self, stages: Sequence[StageParity]) -> Parity:
        """Return the certificate of the stages that were proven."""
        return Parity(
            reference=self.source.reference or f"PyTorch {torch.__version__}, CPU, float32",
            candidate=f"ONNX Runtime {ort.__version__}, {self.options.provider}",
            stages=tuple(stages),
            images=self.reference.images,
            colors=self.reference.settings,
            batches=self.reference.options.batches_of(self.source),
            sizes=tuple(self.reference.examples),
        )


def _two(examples: Sequence[Example]) -> list[Example]:
    """Return two examples, the first twice if there is only one; with different images if there are any."""
    other = next((example for example in examples if example.image is not examples[0].image), examples[-1])
    return [examples[0], other]
