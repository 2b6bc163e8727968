"""The `data` section: what a model learns from, and how it is cut into samples."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from blueprint.component import Fault, Faults, Section, rule, slot
from blueprint.kinds import DataSource, Stage

#: Kinds of samples that rules speak of (`DataSource.gives`).
RUNNING, PAIRS, IMAGES = "text", "pairs", "images"


class Data(Section):
    """What the model learns from and how it is cut into samples."""

    source: DataSource = slot()
    """Where documents come from."""
    stages: Stage | list[Stage] | None = slot(None)
    """What is done to the documents before, one after the other: once for a content and these settings."""
    length: PositiveInt | None = None
    """Tokens in a sample; the model's `max_length` where nothing is said. Longer documents are cut."""
    target_length: PositiveInt | None = None
    """Tokens in the target of a pair, its end included; as `length` where nothing is said."""
    batch_size: PositiveInt = 8
    """Samples in a batch, over all processes together."""
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the documents held out, chosen by a hash of each document."""
    packing: Literal["continuous", "single"] = "continuous"
    """`continuous` cuts windows from the documents laid end to end; `single` gives each sample one document, padded."""
    positions: Literal["continue", "restart"] = "continue"
    """Whether positions run through a packed window or restart with every document in it."""
    shuffle: bool = True
    """Whether samples come in an order drawn from the seed, or as they lie."""
    bucket: PositiveInt = 1
    """Batches that share out their samples by length, so that those of one are about as long as each other and little
    is filled up; 1 leaves samples as they come."""
    workers: NonNegativeInt = 0
    """Processes that prepare batches; the batches are the same whatever their number."""

    @rule("positions", "packing")
    def _restart_needs_packing(positions: str, packing: str) -> Faults:
        if positions == "restart" and packing == "single":
            return Fault("`positions: restart` does nothing with `packing: single`: a sample is one document")
        return None

    @rule("source", "packing", "positions")
    def _packing_is_of_running_text(source: DataSource, packing: str, positions: str) -> Iterator[Fault]:
        if source.gives == RUNNING:
            return
        for name, value, usual in (("packing", packing, "continuous"), ("positions", positions, "continue")):
            if value != usual:
                yield Fault(
                    f"`{name}: {value}` does nothing with source `{source.spec_name}`: "
                    "it gives samples, not running text to cut",
                    name,
                    f"remove `{name}`",
                )

    @rule("source", "stages")
    def _stages_take_what_is_given(source: DataSource, stages: Stage | list[Stage] | None) -> Iterator[Fault]:
        for stage in listed(stages):
            if source.gives not in stage.takes:
                yield Fault(
                    f"stage `{stage.spec_name}` works on {', '.join(sorted(stage.takes))}, and source "
                    f"`{source.spec_name}` gives {source.gives}",
                    "stages",
                    f"remove `{stage.spec_name}` from `stages`",
                )

    @rule("stages")
    def _stages_do_something(stages: Stage | list[Stage] | None) -> Iterator[Fault]:
        for index, (before, stage) in enumerate(pairwise(listed(stages)), 1):
            if stage == before and stage.settles:
                what = f"stage `{stage.spec_name}` has just been through: a second time it does nothing"
                yield Fault(what, f"stages.{index}", "remove it")

    @rule("source", "target_length")
    def _target_needs_pairs(source: DataSource, target_length: int | None) -> Faults:
        if target_length is not None and source.gives != PAIRS:
            return Fault(
                f"`target_length` does nothing with source `{source.spec_name}`, which gives no pairs",
                "target_length",
                "remove `target_length`",
            )
        return None

    @rule("source", "bucket", "shuffle")
    def _bucket_shares_out_pairs(source: DataSource, bucket: int, shuffle: bool) -> Faults:
        if bucket == 1:
            return None
        if source.gives != PAIRS:
            return Fault(
                f"`bucket` does nothing with source `{source.spec_name}`: its samples are all of one width",
                "bucket",
                "remove `bucket`",
            )
        if not shuffle:
            return Fault("with `shuffle: false` samples stay as they lie, and `bucket` does nothing", "bucket")
        return None

    @rule("source", "length")
    def _pixels_have_no_length(source: DataSource, length: int | None) -> Faults:
        if length is not None and source.gives == IMAGES:
            return Fault(
                f"`length` counts tokens, and source `{source.spec_name}` gives images", "length", "remove `length`"
            )
        return None

    @property
    def all_stages(self) -> list[Stage]:
        """The stages in their order."""
        return listed(self.stages)


def listed(stages: Stage | list[Stage] | None) -> list[Stage]:
    """One stage, several or none, as a list."""
    return [stages] if isinstance(stages, Stage) else list(stages or [])
