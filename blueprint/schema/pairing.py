"""What of a spec goes together: the objective with the model, both with the data."""

from __future__ import annotations

from typing import Any

from blueprint.component import Fault, Faults, Section, rule
from blueprint.kinds import Objective, Tokenizer
from blueprint.registry import members
from blueprint.schema.data import IMAGES, PAIRS, Data
from blueprint.schema.model import TOLD, Model, told_by
from blueprint.schema.writing import Writing


class Pairing(Section):
    """The rules between the model, the objective and the data; a spec has them."""

    @rule("model", "data")
    def _length(model: Any, data: Data | None) -> Faults:
        if data is None:
            return None
        longest = model.longest
        if data.source.gives == IMAGES:
            return None
        if data.length is None and longest is None:
            return Fault("`length` must be said, as the model has no `max_length`", "data.length")
        for name, what in (("length", "samples"), ("target_length", "targets")):
            said = getattr(data, name)
            if longest is not None and said is not None and said > longest:
                return Fault(f"{what} of {said} tokens do not fit the model's max_length {longest}", f"data.{name}")
        return None

    @rule("objective", "model")
    def _objective_fits(objective: Objective | None, model: Model) -> Faults:
        if objective is None:
            return None
        if objective.models and model.spec_name not in objective.models:
            alike = [
                f"`{each.spec_name}`"
                for each in members("objective")
                if model.spec_name in getattr(each, "models", ())
                and objective.samples & getattr(each, "samples", set())
                if told_by(each.traits) == model.tells
            ]
            return Fault(
                f"objective `{objective.spec_name}` trains models of type {', '.join(sorted(objective.models))}, "
                f"not {model.spec_name}",
                "objective",
                f"say {' or '.join(alike)}" if alike else None,
            )
        wanted, given = told_by(objective.traits), model.tells
        if wanted != given:
            said, found = (TOLD.get(each or "", "an output for every token") for each in (wanted, given))
            return Fault(
                f"objective `{objective.spec_name}` needs {said}, the model's head gives {found}",
                "objective",
                "say `head: {type: token_classification, labels: …}` in `model`" if wanted == "tags" else None,
            )
        return None

    @rule("objective", "model")
    def _targets_are_not_seen(objective: Objective | None, model: Model) -> Faults:
        if objective is None or (objective.models and model.spec_name not in objective.models):
            return None
        if "next_token" in objective.traits and not getattr(model, "causal", True):
            return Fault(
                f"with `causal: false` every token sees the next one, which objective `{objective.spec_name}` asks "
                "for: the model would learn to copy it",
                "model.causal",
                "say `causal: true`, or another objective (null for none)",
            )
        return None

    @rule("objective", "model", "data")
    def _samples_fit(objective: Objective | None, model: Model, data: Data | None) -> Faults:
        if objective is None or data is None or data.source.gives in objective.samples:
            return None
        gives, reads = data.source.gives, objective.samples
        trains = [
            each
            for each in members("objective")
            if model.spec_name in (getattr(each, "models", ()) or (model.spec_name,))
        ]
        others = [each.spec_name for each in trains if gives in getattr(each, "samples", ())]
        sources = [each.spec_name for each in members("source") if getattr(each, "gives", None) in reads]
        fits = [f"objective {' or '.join(f'`{name}`' for name in others)}"] if others else []
        fits += [f"source {' or '.join(f'`{name}`' for name in sources)}"] if sources else []
        return Fault(
            f"source `{data.source.spec_name}` gives {gives}, but objective `{objective.spec_name}` reads "
            f"{' or '.join(sorted(reads))}",
            "data.source",
            f"say {', or '.join(fits)}" if fits else None,
        )

    @rule("objective", "model", "data")
    def _inputs_fit(objective: Objective | None, model: Any, data: Data | None) -> Faults:
        ids = getattr(model, "reads_ids", True)
        if objective is None or data is None or ids == (data.source.gives != IMAGES):
            return None
        given, taken = ("images", "ids of tokens")[:: 1 if ids else -1]
        return Fault(
            f"source `{data.source.spec_name}` gives {given}, the model's embedding takes {taken}",
            "data.source",
            "say `embedding: {type: patches, …}` in `model`" if ids else "choose a source of images",
        )

    @rule("objective", "model", "data")
    def _labels_fit(objective: Objective | None, model: Model, data: Data | None) -> Faults:
        if objective is not None and told_by(objective.traits) != model.tells:
            return None  # told already
        most = model.site().extra.get("classes")
        if objective is not None and most is None and "labels" in objective.traits:
            return Fault(
                f"objective `{objective.spec_name}` needs a head that tells classes apart",
                "model.head",
                "say `head: {type: classification, labels: …}`",
            )
        if objective is None or most is None:
            return None
        known = None if data is None else data.source.classes()
        return objective.fits_labels(None if known is None else len(known), most)

    @rule("objective", "tokenizer")
    def _tokenizer_fits(objective: Objective | None, tokenizer: Tokenizer | None) -> Faults:
        return None if objective is None or tokenizer is None else objective.fits(tokenizer)

    @rule("tokenizer", "data")
    def _template_has_effect(tokenizer: Tokenizer | None, data: Data | None) -> Faults:
        if tokenizer is None or data is None or not tokenizer.framed or data.source.gives != PAIRS:
            return None
        return Fault(
            f"the tokenizer's template does nothing with source `{data.source.spec_name}`: a pair's source and target "
            "each end with `eos`, and the objective says what a target begins with",
            "tokenizer.template",
            "remove `template`",
        )

    @rule("objective", "tokenizer", "data", "model")
    def _length_fits(
        objective: Objective | None, tokenizer: Tokenizer | None, data: Data | None, model: Model
    ) -> Faults:
        if objective is None or tokenizer is None or data is None or objective.fits(tokenizer) is not None:
            return None
        length = data.length or model.longest
        return None if length is None else objective.fits_length(tokenizer, length, model.longest)

    @rule("objective", "data")
    def _batch_has_others(objective: Objective | None, data: Data | None) -> Faults:
        if objective is None or data is None or data.batch_size > 1 or "compares" not in objective.traits:
            return None
        what = f"objective `{objective.spec_name}` compares the samples of a batch, and there is one in each"
        return Fault(what, "data.batch_size", "say `batch_size: 2` or more")

    @rule("writing", "model", "data")
    def _something_is_written(writing: Writing | None, model: Model, data: Data | None) -> Faults:
        if writing is None:
            return None
        if not (model.generates and "encodes" in model.traits):
            return Fault(f"a model of type `{model.spec_name}` writes nothing for a source", "writing", "remove it")
        if data is None or data.source.gives != PAIRS:
            given = "there is no `data`" if data is None else f"source `{data.source.spec_name}` gives no pairs"
            return Fault(f"nothing says what should be written for what: {given}", "writing", "remove it")
        return None
