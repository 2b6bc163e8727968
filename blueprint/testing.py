"""The contract every component keeps, as one public test: `contract(kind, name)`.

The component is put into the smallest spec that has a place for it, and the whole model is held to the promises of
the engine: what decodes step by step agrees with what does not, the future changes nothing before it, padding is
nothing, every parameter learns. A component of one's own is tested the same way: `load_plugin`, then `contract`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from blueprint.component import Component, Section
from blueprint.describe import descriptions
from blueprint.registry import member, members, names
from blueprint.schema.shape import Shape, fields
from blueprint.schema.spec import Spec

Check = Callable[["Case"], None]

#: Tokens in the sequences the checks run, and the sizes of the model around the component.
LENGTH = 12
TINY: dict[str, Any] = {"d_model": 32, "layers": 2, "max_length": 32, "vocab_size": 61}


class ContractError(AssertionError):
    """A component breaks the contract; the text lists every promise broken."""


@dataclass
class Case:
    """A component in a small spec."""

    kind: str
    name: str
    settings: Mapping[str, Any]
    said: dict[str, Any]

    @property
    def cls(self) -> type[Component]:
        """The component's class."""
        return member(self.kind, self.name)

    @cached_property
    def spec(self) -> Spec:
        """The spec, read as a user's would be."""
        from blueprint.load import load

        return load(self.said)

    @cached_property
    def model(self) -> Any:
        """The built model, evaluating, its parameters moved off their initial values (norms of 1 hide mistakes)."""
        import torch

        from blueprint.model.face import build

        model = build(self.spec)
        noise = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
        return model.eval()

    def ids(self, seed: int = 1, batch: int = 2, length: int = LENGTH) -> Any:
        """Random ids (B, T)."""
        import torch

        return torch.randint(TINY["vocab_size"], (batch, length), generator=torch.Generator().manual_seed(seed))


def contract(kind: str, name: str, settings: Mapping[str, Any] | None = None) -> list[str]:
    """Hold the component `name` of `kind` to the contract; returns what was checked.

    `settings` are its fields; by default every one of its `examples()` is tried. Raises `ContractError` with every
    promise broken.
    """
    done: list[str] = []
    broken: list[str] = []
    for each in [settings] if settings is not None else member(kind, name).examples():
        case = Case(kind, name, each, tiny(kind, name, each))
        for check in (*EVERY, *CHECKS.get(kind, MODEL)):
            title = check.__name__.removeprefix("_").replace("_", " ")
            try:
                check(case)
                done.append(title)
            except Exception as error:  # whatever goes wrong is told, with the promise it breaks
                broken.append(f"- {title}, with {dict(each)}: {type(error).__name__}: {error}")
    if broken:
        raise ContractError(f"{kind} `{name}` breaks its contract:\n" + "\n".join(broken))
    return list(dict.fromkeys(done))


def tiny(kind: str, name: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The smallest spec, as a dict, that holds the component; raises ValueError where no slot admits its kind."""
    cls = member(kind, name)
    said: dict[str, Any] = {}
    _put(said, "sample", None)
    path = place(kind)
    _put(said, "model.type", name if path == ("model",) else next(iter(names("model"))))
    for step in range(1, len(path)):
        _require(said, path[:step])
    _put(said, ".".join(path), {"type": name, **(settings or cls.examples()[0])})
    for key, value in TINY.items():
        _put(said, f"model.{key}", value)
    _require(said, ("model", "block", "attention"))
    for where, value in cls.beside.items():
        _put(said, where, value)
    return said


def place(kind: str) -> tuple[str, ...]:
    """The key path of the shallowest slot of `kind`, looking through default types first, then through all types."""
    for everything in (False, True):
        queue: list[tuple[tuple[str, ...], type[Section]]] = [((), Spec)]
        seen: set[type[Section]] = set()
        while queue:
            path, cls = queue.pop(0)
            for key, shape in fields(cls).items():
                if shape.form == "slot" and shape.kind == kind:
                    return (*path, key)
            for key, shape in fields(cls).items():
                for inner in _inner(shape, everything or cls is Spec):
                    if inner not in seen:
                        seen.add(inner)
                        queue.append(((*path, key), inner))
    raise ValueError(f"no slot of any spec takes a {kind}")


def _inner(shape: Shape, everything: bool) -> Iterator[type[Section]]:
    if shape.form == "section" and shape.cls is not None:
        yield shape.cls
    elif shape.form == "slot":
        default = shape.member_of(None)
        if default is not None:
            yield default
        elif everything:
            yield from members(shape.kind)


def _put(said: dict[str, Any], path: str, value: Any) -> None:
    *steps, last = path.split(".")
    for step in steps:
        said = said.setdefault(step, {})
    said[last] = value


def _require(said: dict[str, Any], path: tuple[str, ...]) -> None:
    """Give the part at `path` an example value for each field it requires."""
    cls: type[Section] | None = Spec
    node = said
    for step in path:
        shape = fields(cls).get(step) if cls is not None else None
        if shape is None:
            return
        inner = node.setdefault(step, {})
        if isinstance(inner, str) or not isinstance(inner, dict):
            return
        node = inner
        if "type" in node and shape.form == "slot":
            cls = member(shape.kind, node["type"])
        else:
            cls = shape.member_of(None) or next(_inner(shape, True), None)
            if cls is not None and shape.form == "slot" and issubclass(cls, Component) and shape.default is None:
                node["type"] = cls.spec_name
    if cls is not None and issubclass(cls, Component):
        for key, value in cls.examples()[0].items():
            node.setdefault(key, value)


def close(a: Any, b: Any, what: str, tolerance: float = 1e-5) -> None:
    """Fail unless two tensors agree to `tolerance` of the larger's spread."""
    error = (a - b).abs().max().item()
    bound = tolerance * max(1.0, b.abs().max().item())
    assert error <= bound, f"{what}: differ by {error:.2e}, allowed {bound:.2e}"


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

    for overrides in (["model.d_model=64"], ["model.layers=1"], ["model.layers=3", "model.max_length=48"]):
        build(load(case.said, overrides))(case.ids())


def _finite_gradient_to_every_parameter(case: Case) -> None:
    model = copy.deepcopy(case.model).train()
    out = model(case.ids())
    loss = out.logits.float().square().mean() + sum((t.float().sum() for t in out.terms.values()), 0.0)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} gets no gradient"
        assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"


def _causality(case: Case) -> None:
    if not case.model.plan.site.causal:
        return
    ids, cut = case.ids(), LENGTH // 2
    other = ids.clone()
    other[:, cut:] = (other[:, cut:] + 1) % TINY["vocab_size"]
    close(case.model(other).logits[:, :cut], case.model(ids).logits[:, :cut], "the future changes what lies before it")


def _padding_is_nothing(case: Case) -> None:
    import torch

    ids, pad = case.ids(), 5
    alone = case.model(ids).logits
    filler = torch.full((ids.shape[0], pad), 7)
    ones, zeros = torch.ones_like(ids), torch.zeros_like(filler)
    right = case.model(torch.cat([ids, filler], 1), torch.cat([ones, zeros], 1)).logits
    close(right[:, :LENGTH], alone, "padding on the right changes the tokens before it")
    left = case.model(torch.cat([filler, ids], 1), torch.cat([zeros, ones], 1)).logits
    close(left[:, pad:], alone, "padding on the left changes the tokens after it")


def _step_by_step_equals_at_once(case: Case) -> None:
    import torch

    model, ids = case.model, case.ids()
    whole = model(ids).logits
    if not model.incremental:
        from blueprint.inference.generate import generate

        assert generate(model, ids, max_new_tokens=2, temperature=0).shape[1] == LENGTH + 2
        return
    for chunks in ([1] * LENGTH, [5, 1, 1, LENGTH - 7]):
        state, parts, start = model.new_state(ids.shape[0], LENGTH), [], 0
        for size in chunks:
            parts.append(model(ids[:, start : start + size], state=state).logits)
            start += size
        close(torch.cat(parts, 1), whole, f"decoding in steps of {chunks} differs from the whole")


def _state_dict_copy_and_meta(case: Case) -> None:
    import torch

    from blueprint.model.face import build

    ids, model = case.ids(), case.model
    expected = model(ids).logits
    assert torch.equal(copy.deepcopy(model)(ids).logits, expected), "a deep copy computes something else"
    fresh = build(case.spec).eval()
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(ids).logits, expected), "weights do not survive a state dict"
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
    assert model(case.ids()).logits.isfinite().all(), "bfloat16 gives values that are not finite"


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


def _factor_is_finite_and_not_negative(case: Case) -> None:
    schedule: Any = case.spec.schedule
    factors = [schedule.factor(step, 100) for step in range(101)]
    assert all(0 <= factor <= 10 for factor in factors), f"factors run from {min(factors)} to {max(factors)}"
    assert max(factors) > 0, "the learning rate is always 0"


def _a_step_moves_every_parameter_downhill(case: Case) -> None:
    import torch

    model = copy.deepcopy(case.model).train()
    optimizer = case.spec.optimizer.build(case.spec.model.site())(list(model.named_parameters()))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    losses = []
    for _ in range(5):
        loss = model(case.ids()).logits.float().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0], f"the loss goes from {losses[0]} to {losses[-1]}"
    still = [n for (n, p), b in zip(model.named_parameters(), before, strict=True) if torch.equal(p, b)]
    assert not still, f"the optimizer leaves {', '.join(still)} as they were"


def _loss_is_finite_and_teaches_every_parameter(case: Case) -> None:
    model, ids = copy.deepcopy(case.model).train(), case.ids()
    objective = case.spec.objective.build(case.spec.model.site())
    loss, _ = objective(model, {"input_ids": ids, "labels": ids.roll(-1, 1)})
    loss.backward()
    assert loss.isfinite()
    assert loss.item() > 0
    lazy = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not lazy, f"the loss gives no gradient to {', '.join(lazy)}"


def _text_comes_back(case: Case) -> None:
    tokenizer: Any = case.spec.tokenizer
    made = tokenizer.build(case.spec.model.site())
    for text in ("plain words, 123", "naïve 你好 🙂\n\ttabs", ""):
        ids = made.encode(text)
        assert all(0 <= int(i) < made.vocab_size for i in ids), "an id lies outside the vocabulary"
        assert made.decode(ids) == text, f"{text!r} comes back as {made.decode(ids)!r}"


EVERY: tuple[Check, ...] = (_documentation_names_purpose_and_source, _every_setting_is_read_back)
MODEL: tuple[Check, ...] = (
    _spec_round_trip,
    _builds_at_several_sites,
    _finite_gradient_to_every_parameter,
    _causality,
    _padding_is_nothing,
    _step_by_step_equals_at_once,
    _state_dict_copy_and_meta,
    _same_seed_same_weights,
    _runs_in_bfloat16,
)
#: What kinds outside the model promise instead; a kind that is not named here is part of the model.
CHECKS: dict[str, tuple[Check, ...]] = {
    "schedule": (_spec_round_trip, _factor_is_finite_and_not_negative),
    "optimizer": (_spec_round_trip, _a_step_moves_every_parameter_downhill),
    "objective": (_spec_round_trip, _loss_is_finite_and_teaches_every_parameter),
    "tokenizer": (_text_comes_back,),
    "source": (),
}
