"""What any spec must do: be refused with a reason and its place, or plan, build, cost, learn, decode and come back.

    python -m tests.random_specs --from 0 --count 1000 [--json]

tries so many specs by lot, one for each number, and tells what became of them; of those that failed, the smallest
spec that fails alike.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import traceback
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import blueprint as bp
from blueprint.build_folder import _save as save_weights
from blueprint.choice import BackendError
from blueprint.cost.memory import cast, computing
from blueprint.interop.config import FamilyError
from blueprint.load.dump import dump
from blueprint.model.recompute import recompute
from blueprint.model.trial import trial_batch, trial_loss
from blueprint.model.weights import freeze, trained
from blueprint.testing.checks import (
    _causality as causality,
)
from blueprint.testing.checks import (
    _padding_is_nothing as padding_is_nothing,
)
from blueprint.testing.checks import (
    _rows_do_not_see_each_other as rows_do_not_see_each_other,
)
from blueprint.testing.checks import (
    _step_by_step_equals_at_once as step_by_step_equals_at_once,
)
from blueprint.testing.mended import mended
from blueprint.testing.pieces import pieces_add_up
from blueprint.testing.smaller import smallest
from blueprint.testing.tiny import LENGTH, TINY, Case
from blueprint.training.folder import yaml_text
from blueprint.training.kept import copied
from tests.random_lots import own_components, seeded
from tests.random_texts import written

#: More than this is no small spec any more: it is planned, counted and told, not run.
LARGE, DEEP = 3_000_000, 8
TRIES = 8
#: Weights of this size and more are drawn where a spec says so.
LARGE_WEIGHT = 10
#: What of experts and their room lets tokens bear on others.
BEARING = ("keep", "at_inference", "dropout", "over")
#: Why a cost may be unknown: what was asked for by name is for another device, or which rows count is in the data.
UNTELLABLE = ("BackendError", "DynamicOutputShape")
#: The share of specs that are written as files, kept in a folder with their weights, and exported as well.
AS_FILES, KEPT, EXPORTED = 0.5, 0.1, 0.05


class Broken(AssertionError):
    """A spec that does what none may do; `said` is what was held to it."""

    def __init__(self, said: Mapping[str, Any], cause: Exception) -> None:
        self.said, self.cause = said, cause
        super().__init__(f"{type(cause).__name__}: {cause}\n{dump(said)}")

    @property
    def kind(self) -> tuple[str, ...]:
        """What two failures of one cause have alike: the error, and where it was raised."""
        last = traceback.extract_tb(self.cause.__traceback__)[-1]
        return type(self.cause).__name__, last.filename, last.name, str(last.lineno)

    def smallest(self, seconds: float = 30) -> Broken:
        """The same failure of a smaller spec."""
        found = self

        def still(less: dict[str, Any]) -> bool:
            nonlocal found
            try:
                held(less)
            except Broken as other:
                if other.kind == self.kind:
                    found = other
                    return True
            return False

        smallest(self.said, still, seconds)
        return found


def try_spec(said: dict[str, Any], costed: float = 1) -> str:
    """Hold a spec, or what is left of it without its mistakes, to what any spec must do; returns what became of it.

    Of those that are run too, the cost of a share is measured, which takes as long as all the rest. Raises `Broken`
    where it does anything else.
    """
    for _ in range(TRIES):
        found = held(said, costed)
        if isinstance(found, str):
            return found
        before, said = said, mended(said, found)
        if said == before:
            break
    return "refused"


def held(said: dict[str, Any], costed: float = 1) -> str | tuple[Any, ...]:
    """What became of a spec, or the reasons for which it is refused; raises `Broken`."""
    try:
        try:
            spec = bp.load(said, allow_plugins=True)
            bp.plan(spec)
            # Only the model itself has the names that these are said by.
            shapes = bp.build(spec, device="meta")
            freeze(shapes, spec)
            trained(shapes, spec)
        except bp.SpecError as error:
            _are_reasons(error)
            return error.problems
        try:
            return hold(spec, random.Random(zlib.crc32(dump(said).encode())), costed)
        except BackendError:  # asked for by name, and not for this device
            return "elsewhere"
    except Exception as error:
        raise Broken(said, error) from error


def _are_reasons(error: bp.SpecError) -> None:
    """A refusal says why, and where."""
    assert error.problems, "refused without a reason"
    for problem in error.problems:
        assert problem.path, f"a reason without a place: {problem}"
        assert problem.span is not None, f"a reason without a line: {problem}"
        assert len(problem.message) > 10, f"no reason: {problem}"


def hold(spec: bp.Spec, lot: random.Random, costed: float = 1) -> str:
    """Hold a valid spec to all it must do."""
    plan = bp.plan(spec)
    assert str(plan)
    comes_back(spec, lot)
    shapes = bp.build(spec, device="meta")
    count = sum(parameter.numel() for parameter in shapes.parameters())
    large = count > LARGE or sum(map(len, plan.stacks.values())) > DEEP
    if large or lot.random() < costed:
        costs(spec, count)
    if large:
        return "large"
    model = bp.build(spec)
    if lot.random() < KEPT:
        is_kept(spec, model)
    if lot.random() < EXPORTED:
        is_exported(model)
    if not learns(spec, model):
        return "overflow"
    said = spec.to_plain()["model"]
    promises({"model": _roomy(said) if plan.model.reads_ids else said})
    return "held"


def comes_back(spec: bp.Spec, lot: random.Random) -> None:
    """What a spec says of itself, all or only what differs from defaults, in whatever form, is the same spec."""
    plain, plan = spec.to_plain(), bp.plan(spec)
    again = bp.load(plain)
    assert again.to_plain() == plain, "the resolved spec reads back as another"
    assert bp.plan(again).hash == plan.hash
    said = spec.to_plain(defaults=False)
    sparse = bp.load(said)
    # The norm of a sublayer that is not there may be another: it is in no plan.
    assert _without_model(sparse.to_plain()) == _without_model(plain), "leaving defaults out changes the spec"
    assert bp.plan(sparse).hash == plan.hash, "leaving defaults out changes the plan"
    if lot.random() < AS_FILES:
        with tempfile.TemporaryDirectory() as folder:
            form = {"plugins": list(spec.plugins), **said} if spec.plugins else said
            read = bp.load(written(form, Path(folder), lot), allow_plugins=True)
        assert read.to_plain() == sparse.to_plain(), "written in files it is another"


def _without_model(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key != "model"}


def costs(spec: bp.Spec, count: int) -> None:
    """All is measured; what is unknown is so for a reason that a person can act upon."""
    plan = bp.plan(spec)
    cost = bp.cost(spec, length=min(16, plan.site.max_length or 16) if plan.model.reads_ids else None)
    assert cost.parameters == count
    assert cost.active_parameters is None or cost.active_parameters <= count
    for name, reason in cost.unknown.items():
        assert "does not run" not in reason or any(each in reason for each in UNTELLABLE), f"{name}: {reason}"
    assert str(cost)


def is_kept(spec: bp.Spec, model: Any) -> None:
    """A folder with the spec and its weights gives the same model, bit by bit."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.yaml").write_text(yaml_text(copied(spec, folder)))
        save_weights(model, folder / "model.safetensors")
        again = bp.restore(folder, allow_plugins=True)
        assert isinstance(again.spec, bp.Spec)
        # Inside, as a tokenizer's file tells how many ids there are.
        assert bp.plan(again.spec).hash == bp.plan(spec).hash
    found, there = again.state_dict(), model.state_dict()
    assert found.keys() == there.keys()
    assert all(torch.equal(found[name], there[name]) for name in there), "a weight came back as another"


def is_exported(model: Any) -> None:
    """A checkpoint for the transformers library comes back as the same plan and weights, where a family can say it."""
    with tempfile.TemporaryDirectory() as name:
        try:
            bp.export_hf(model, Path(name) / "out")
        except FamilyError:
            return
        spec, again = bp.import_hf(Path(name) / "out")
    assert bp.plan(spec).hash == bp.plan(model.spec).hash
    found, there = again.state_dict(), model.state_dict()
    assert all(torch.equal(found[name], there[name]) for name in there), "a weight came back as another"


def learns(spec: bp.Spec, model: Any) -> bool:
    """One step of the spec's own optimizer on its own objective: finite, and something moves. False where the spec
    asks for weights too large for its numbers."""
    plan, precision = bp.plan(spec), spec.trainer.precision
    if precision.startswith("16"):  # no half precision without a scaler
        precision = "32-true"
    length = min(16, plan.site.max_length or 16)
    freeze(model, spec)
    recompute(model, spec.recompute)
    model = cast(model, precision).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    torch.manual_seed(0)
    batch = trial_batch(plan, 4, length, objective=spec.objective, generator=torch.Generator().manual_seed(0))
    if precision == "64-true":
        batch = {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}
    with computing(precision):
        loss, _ = trial_loss(spec, plan.site)(model, batch)
    if any(weight.abs().max() > LARGE_WEIGHT for weight in model.parameters() if weight.dim() > 1):
        # Matrices of numbers that large overflow where no norm stands between them, which a run tells and ends.
        return bool(loss.isfinite())
    assert loss.isfinite(), "the loss is not finite"
    loss.backward()
    for name, parameter in model.named_parameters():
        assert not parameter.requires_grad or parameter.grad is not None, f"{name} gets no gradient"
    spec.optimizer.build(plan.site)(trained(model, spec)).step()
    for name, parameter in model.named_parameters():
        assert parameter.isfinite().all(), f"{name} is not finite after a step"
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[name]), f"{name} is frozen and moved"
    assert any(not torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    return True


def promises(said: dict[str, Any]) -> None:
    """The contract of every component, of them all together: no look ahead, cached as uncached, pieces that add up."""
    said = _alone(said)
    case = Case("model", said["model"]["type"], {}, said)
    site = case.spec.model.site()
    if site.ids:
        # What is drawn may grow large: in double precision a difference is a mistake.
        case.model.double()
    if (site.max_length or LENGTH) >= LENGTH:
        for check in (causality, rows_do_not_see_each_other, padding_is_nothing, step_by_step_equals_at_once):
            check(case)
        pieces_add_up(case)


def _alone(said: Any) -> Any:
    """The same without what is there to let tokens bear on each other: who gets a place at experts, and when; lots that
    are drawn for all tokens of an expert together."""
    if not isinstance(said, Mapping):
        return said
    out = {key: _alone(value) for key, value in said.items()}
    for inside in ("capacity", "expert"):
        if isinstance(out.get(inside), dict):
            out[inside] = {key: value for key, value in out[inside].items() if key not in BEARING}
    return out


def _roomy(said: Any) -> Any:
    """The same with a vocabulary that has all ids of the checks."""
    if not isinstance(said, Mapping):
        return said
    return {key: TINY["vocab_size"] if key == "vocab_size" else _roomy(value) for key, value in said.items()}


def main() -> int:
    """Try many, and tell what became of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30, help="how long to look for a smaller spec that fails")
    parser.add_argument("--costed", type=float, default=1, help="the share of those run of which the cost is measured")
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args()
    became: dict[str, Counter[str]] = {}
    failed: dict[tuple[str, ...], list[Broken | int]] = {}
    with own_components():
        for number in range(words.first, words.first + words.count):
            said = seeded(number)
            try:
                outcome = try_spec(said, words.costed)
            except Broken as broken:
                outcome = "failed"
                if broken.kind not in failed:
                    failed[broken.kind] = [broken.smallest(words.seconds)]
                    print(f"{number}: {failed[broken.kind][0]}", file=sys.stderr, flush=True)
                failed[broken.kind].append(number)
            became.setdefault(said["model"]["type"], Counter())[outcome] += 1
            if (number + 1) % 100 == 0:
                print(number + 1, dict(sum(became.values(), Counter())), file=sys.stderr, flush=True)
    if words.json:
        each = [{"numbers": numbers, "error": str(error)} for error, *numbers in failed.values()]
        print(json.dumps({"became": became, "failed": each}, indent=2))
        return bool(failed)
    outcomes = ("held", "large", "refused", "elsewhere", "overflow", "failed")
    print(f"{'':18}" + "".join(f"{outcome:>11}" for outcome in outcomes))
    for model, counts in [*sorted(became.items()), ("all", sum(became.values(), Counter()))]:
        print(f"{model:18}" + "".join(f"{counts[outcome]:>11}" for outcome in outcomes))
    for error, *numbers in failed.values():
        print(f"\n{numbers}: {error}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
