"""What each shipped validator reads as its rules (docs/spec/outputs.md): an owner writes them into the policy.

A validator refuses rules with a key more or less: nothing is left to a default that a later release could move.
Numbers are whole, since policies are.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Shape

Count = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
Permille = Annotated[int, Meta(ge=0, le=1000)]
Text = Annotated[str, Meta(max_length=1000)]
Sides = tuple[Count, ...]


class JsonRules(Shape, frozen=True, kw_only=True):
    """Rules of ``json``. ``schema`` is of the closed part of JSON Schema that docs/spec/outputs.md lists; None: any.

    ``max_text`` bounds the characters of all strings and keys together, but for ``words`` and keys of the schema.
    """

    schema: dict[str, Any] | None
    max_numbers: Count
    max_digits: Count
    max_strings: Count
    max_string_length: Count
    max_text: Count
    max_depth: Count
    words: tuple[Text, ...]


class OnnxRules(Shape, frozen=True, kw_only=True):
    """Rules of ``onnx``. ``architecture``: shapes of all weights in the order of their use, or None for any.

    ``metadata`` says for each declared key how many characters it may have. ``numbers_per_thousand_cells`` (None: not
    asked) and a ``smallest_group`` above 1 need the data.
    """

    operators: tuple[Text, ...]
    architecture: tuple[Sides, ...] | None
    max_numbers: Count
    numbers_per_thousand_cells: Count | None
    smallest_group: Count
    max_text: Count
    metadata: dict[str, Count]
    words: tuple[Text, ...]


class DeclaredTensor(Shape, frozen=True, kw_only=True):
    """One tensor of a safetensors file."""

    name: Text
    dtype: Literal["I64", "F64", "F32", "I32", "BF16", "F16", "I16", "I8", "U8", "BOOL"]
    shape: Sides


class SafetensorsRules(Shape, frozen=True, kw_only=True):
    """Rules of ``safetensors``: exactly these tensors, and at most these keys of metadata with so many characters."""

    tensors: tuple[DeclaredTensor, ...]
    metadata: dict[str, Count]


class Aggregate(Shape, frozen=True, kw_only=True):
    """One column of an output table: ``function`` over ``column`` of each group; ``count`` has no column."""

    name: Text
    function: Literal["count", "sum", "mean", "deviation"]
    column: Text | None


class TableRules(Shape, frozen=True, kw_only=True):
    """Rules of ``table``: groups by these columns, with so many rows at least, and these aggregates of them."""

    group_by: tuple[Text, ...]
    aggregates: Annotated[tuple[Aggregate, ...], Meta(min_length=1)]
    smallest_group: Annotated[int, Meta(ge=2)]
    digits: Annotated[int, Meta(ge=1, le=12)]


class MembershipRules(Shape, frozen=True, kw_only=True):
    """Rules of ``membership``: the advantage that a model may show on the rows that it was trained on."""

    advantage_permille: Permille
