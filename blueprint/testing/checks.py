"""The promises of the engine, each a function that fails where a component breaks it."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Callable
from typing import Any

from blueprint.describe import descriptions
from blueprint.diagnosis import SpecError
from blueprint.testing.data_checks import (
    documents_become_the_same_again,
    learns_the_same_twice,
    score_knows_better_texts,
    text_comes_back,
)
from blueprint.testing.learning_checks import (
    a_step_moves_every_parameter_downhill,
    factor_is_finite_and_not_negative,
    loss_is_finite_and_teaches_every_parameter,
    what_is_said_of_one_weight_holds,
)
from blueprint.testing.pieces import pieces_add_up
from blueprint.testing.prefix_checks import a_prefix_is_seen_both_ways
from blueprint.testing.tiny import LENGTH, TINY, Case, place, stacks

Check = Callable[[Case], None]


def close(a: Any, b: Any, what: str, tolerance: float = 1e-5) -> None:
    """Fail unless two tensors agree to `tolerance` of the larger's spread."""
    error = (a - b).abs().max().item()
    bound = tolerance * max(1.0, b.abs().max().item())
    assert error <= bound, f"{what}: differ by {error:.2e}, allowed {bound:.2e}"


def tokens(out: Any) -> Any:
    """What a model says of every token: its logits, or its hidden states where the logits are of whole sequences."""
    return out.logits if out.logits.shape[:2] == out.hidden.shape[:2] and out.logits.dim() == 3 else out.hidden


def _documentation_names_purpose_and_source(case: Case) -> None:
    text = case.cls.__doc__ or ""
    assert len(text) > 20, "the class has no docstring"
    assert re.search(r"\b(1[89]|20)\d\d\b|https?://", text), "the docstring names no source: a year or an address"
    bare = [name for name in case.cls.model_fields if name not in descriptions(case.cls)]
    assert not bare, f"no description of {', '.join(bare)}: put a docstring under each field"


def _spec_round_trip(case: Case) -> None:
    from blueprint.load import load
    from blueprint.plan import plan

    again = load(case.spec.to_plain())
    assert again.to_plain() == case.spec.to_plain(), "reading the resolved spec gives another"
    assert plan(again).hash == plan(case.spec).hash, "the plan's hash changes when the resolved spec is read again"
    sparse = load(case.spec.to_plain(defaults=False))
    assert plan(sparse).hash == plan(case.spec).hash, "leaving defaults out changes the plan"


def _builds_at_several_sites(case: Case) -> None:
    from blueprint.load import load
    from blueprint.model.face import build

    def sized(**sizes: int) -> list[str]:
        """Sizes for every stack that says them."""
        return [f"{path}.{key}={size}" for path in stacks(case.said) for key, size in sizes.items() if said(path, key)]

    def said(path: str, key: str) -> bool:
        node = case.said
        for step in path.split("."):
            node = node[step]
        return node.get(key) is not None

    for overrides in (sized(layers=1), sized(layers=3, max_length=48)):
        build(load(case.said, overrides))(**case.inputs())
    try:
        wide = load(case.said, sized(d_model=64))
    except SpecError:
        return  # settings that fit one width alone may say so
    build(wide)(**case.inputs())


def _finite_gradient_to_every_parameter(case: Case) -> None:
    from blueprint.ops import with_losses

    model = copy.deepcopy(case.model).train()
    out = model(**case.inputs())
    assert all(term.ndim == 0 for term in out.terms.values()), "a term is a scalar: it is logged as one number"
    with_losses(out.logits.float().square().mean(), out.terms).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} gets no gradient"
        assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"


def _causality(case: Case) -> None:
    if not case.model.plan.site.causal or not case.reads_ids:
        return
    import torch

    ids, cut = case.ids(), LENGTH // 2
    other = ids.clone()
    other[:, cut:] = (other[:, cut:] + 1) % TINY["vocab_size"]
    for model in (case.model, copy.deepcopy(case.model).train()):
        found = []
        for each in (other, ids):
            # What is dropped in training is the same for both.
            torch.manual_seed(0)
            found.append(tokens(model(**case.inputs(each)))[:, :cut])
        when = " in training" if model.training else ""
        close(found[0], found[1], f"the future changes what lies before it{when}")


def _rows_do_not_see_each_other(case: Case) -> None:
    inputs = case.inputs()
    alone = case.model(**{name: value[:1] for name, value in inputs.items()})
    close(tokens(alone), tokens(case.model(**inputs))[:1], "a sequence changes with those beside it in the batch")


def _padding_is_nothing(case: Case) -> None:
    import torch

    if not case.reads_ids:
        return
    ids, pad = case.ids(), 5
    others = {name: value for name, value in case.inputs(ids).items() if name != case.told}
    mask = case.told.replace("input_ids", "attention_mask")
    alone = case.model(**others, **{case.told: ids})
    filler = torch.full((ids.shape[0], pad), 7)
    ones, zeros = torch.ones_like(ids), torch.zeros_like(filler)
    right = case.model(**others, **{case.told: torch.cat([ids, filler], 1), mask: torch.cat([ones, zeros], 1)})
    close(tokens(right)[:, :LENGTH], tokens(alone), "padding on the right changes the tokens before it")
    left = case.model(**others, **{case.told: torch.cat([filler, ids], 1), mask: torch.cat([zeros, ones], 1)})
    close(tokens(left)[:, pad:], tokens(alone), "padding on the left changes the tokens after it")
    for out in (left, right) if case.pooled else ():
        close(out.logits, alone.logits, "padding changes what is said of the whole sequence")


def _step_by_step_equals_at_once(case: Case) -> None:
    import torch

    from blueprint.inference.generate import generate

    model, ids = case.model, case.ids()
    whole = tokens(model(**case.inputs(ids)))
    if not model.plan.model.generates:
        with contextlib.suppress(ValueError):
            generate(model, ids, max_new_tokens=2)
            raise AssertionError("a model that does not generate went on all the same")
    elif not model.incremental:
        begun = {"decoder_input_ids": ids} if "encodes" in model.plan.model.traits else {}
        assert generate(model, ids, max_new_tokens=2, temperature=0, **begun).shape[1] == LENGTH + 2
    if not model.incremental:
        return
    others = {name: value for name, value in case.inputs(ids).items() if name != case.told}

    def ask(some: Any, state: Any, **more: Any) -> Any:
        return tokens(model(**others, **{case.told: some}, **more, state=state))

    # Where rotations follow the length, each token is compared with the last of the sequence that ends there, and the
    # state is made anew where it says that it no longer holds.
    end = model.steady(1)
    chunks_of = [[1] * LENGTH, [5, 1, 1, LENGTH - 7]]
    if end is not None and end < LENGTH:
        ends = (tokens(model(**others, **{case.told: ids[:, :size]}))[:, -1:] for size in range(1, LENGTH + 1))
        whole = torch.cat([*ends], 1)
        chunks_of = [[1] * LENGTH]
    for chunks in chunks_of:
        state, parts, start = model.new_state(ids.shape[0], LENGTH), [], 0
        for size in chunks:
            if state.holds(size):
                parts.append(ask(ids[:, start : start + size], state))
            else:
                state = model.new_state(ids.shape[0], LENGTH)
                parts.append(ask(ids[:, : start + size], state)[:, -size:])
            start += size
        close(torch.cat(parts, 1), whole, f"decoding in steps of {chunks} differs from the whole")
    # Prompts of two lengths, the shorter padded on the left: its tokens then lie elsewhere than their positions say.
    pad, prompt = 3, 7

    def prompted(size: int) -> tuple[Any, Any]:
        """A new state that has seen `size` columns, and what the model says of the last."""
        some = torch.stack([torch.cat([torch.full((pad,), 7), ids[0, : size - pad]]), ids[1, :size]])
        keep = torch.ones_like(some)
        keep[0, :pad] = 0
        state = model.new_state(ids.shape[0], LENGTH)
        return state, ask(some, state, **{case.told.replace("input_ids", "attention_mask"): keep})[:, -1]

    state, _ = prompted(prompt)
    for step in range(prompt, LENGTH):
        at = torch.tensor([step - pad, step])
        if state.holds():
            found = ask(ids.gather(1, at[:, None]), state)[:, 0]
        else:
            state, found = prompted(step + 1)
        close(found, whole[torch.arange(2), at], "decoding after a padded prompt differs from decoding without padding")


def _documents_in_a_row_are_as_alone(case: Case) -> None:
    import torch

    said = copy.deepcopy(case.said)
    said["model"]["block"]["attention"]["mask"] = "document"
    model, ids, cut = Case(case.kind, case.name, case.settings, said).model, case.ids(), LENGTH // 3
    begins = torch.arange(LENGTH) >= cut
    place = torch.arange(LENGTH) - cut * begins
    segment, position = (each.expand_as(ids) for each in (begins.long(), place))
    packed = tokens(model(ids, segment_ids=segment, position_ids=position))
    alone = torch.cat([tokens(model(ids[:, :cut])), tokens(model(ids[:, cut:]))], 1)
    close(packed, alone, "documents packed into a row, with positions of their own, differ from each alone")


def _state_dict_copy_and_meta(case: Case) -> None:
    import torch

    from blueprint.model.face import build

    inputs, model = case.inputs(), case.model
    expected = model(**inputs).logits
    assert torch.equal(copy.deepcopy(model)(**inputs).logits, expected), "a deep copy computes something else"
    fresh = build(case.spec).eval()
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(**inputs).logits, expected), "weights do not survive a state dict"
    shapes = {name: value.shape for name, value in build(case.spec, device="meta").state_dict().items()}
    assert shapes == {name: value.shape for name, value in model.state_dict().items()}, "shapes on meta differ"


def _same_seed_same_weights(case: Case) -> None:
    import torch

    from blueprint.model.face import build

    first = build(case.spec).state_dict()
    torch.rand(3)
    second = build(case.spec).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first), "two builds with one seed differ"


def _runs_in_bfloat16(case: Case) -> None:
    import torch

    model = copy.deepcopy(case.model).to(torch.bfloat16)
    assert model(**case.inputs()).logits.isfinite().all(), "bfloat16 gives values that are not finite"


def _every_setting_is_read_back(case: Case) -> None:
    part: Any = case.spec
    for step in place(case.kind):
        part = getattr(part, step)
    assert type(part) is case.cls, "the spec holds another component"
    said = part.to_plain()
    for key, value in case.settings.items():
        assert key in said, f"`{key}` is not written back"
        if not isinstance(value, dict | str):
            assert key in TINY or said[key] == value, f"`{key}: {value}` is written back as {said[key]}"
    assert case.cls.of(said) == part, "reading what the component writes gives another"


EVERY: tuple[Check, ...] = (_documentation_names_purpose_and_source, _every_setting_is_read_back)
MODEL: tuple[Check, ...] = (
    _spec_round_trip,
    _builds_at_several_sites,
    _finite_gradient_to_every_parameter,
    _causality,
    _rows_do_not_see_each_other,
    _padding_is_nothing,
    _step_by_step_equals_at_once,
    _state_dict_copy_and_meta,
    _same_seed_same_weights,
    _runs_in_bfloat16,
    pieces_add_up,
    a_prefix_is_seen_both_ways,
)
#: What kinds promise that are not just any part of the model.
CHECKS: dict[str, tuple[Check, ...]] = {
    "schedule": (_spec_round_trip, factor_is_finite_and_not_negative),
    "optimizer": (
        _spec_round_trip,
        a_step_moves_every_parameter_downhill,
        what_is_said_of_one_weight_holds,
    ),
    "objective": (_spec_round_trip, loss_is_finite_and_teaches_every_parameter),
    "tokenizer": (_spec_round_trip, text_comes_back, learns_the_same_twice),
    "source": (),
    "strategy": (),
    "stage": (_spec_round_trip, documents_become_the_same_again),
    "text_score": (_spec_round_trip, score_knows_better_texts),
    "position": (*MODEL, _documents_in_a_row_are_as_alone),
    "positions": (*MODEL, _documents_in_a_row_are_as_alone),
}
