"""The promises of what makes models learn: objectives, optimizers, schedules."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from blueprint.testing.tiny import LENGTH, Case


def factor_is_finite_and_not_negative(case: Case) -> None:
    """Fail unless a schedule multiplies the rate by what can be multiplied by, and not always by 0."""
    schedule: Any = case.spec.schedule
    factors = [schedule.factor(step, 100) for step in range(101)]
    assert all(0 <= factor <= 10 for factor in factors), f"factors run from {min(factors)} to {max(factors)}"
    assert max(factors) > 0, "the learning rate is always 0"


def a_step_moves_every_parameter_downhill(case: Case) -> None:
    """Fail unless an optimizer lowers a loss, and leaves no parameter as it was."""
    import torch

    from blueprint.model.weights import weights_of

    model = copy.deepcopy(case.model).train()
    optimizer = case.spec.optimizer.build(case.spec.model.site())(weights_of(model))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    losses = []
    for _ in range(5):
        loss = model(**case.inputs()).logits.float().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0], f"the loss goes from {losses[0]} to {losses[-1]}"
    still = [n for (n, p), b in zip(model.named_parameters(), before, strict=True) if torch.equal(p, b)]
    assert not still, f"the optimizer leaves {', '.join(still)} as they were"


def what_is_said_of_one_weight_holds(case: Case) -> None:
    """Fail unless rates and decays that are said of single weights are theirs."""
    import torch

    from blueprint.model.weights import weights_of

    def stepped(**said: Any) -> tuple[list[str], Any]:
        """The names of the weights of which something is said, and the model after a step."""
        model = copy.deepcopy(case.model).train()
        weights = weights_of(model)
        some = [each for role in ("linear", "head", "embedding", "residual") for each in weights if each.role == role]
        chosen = {role: next(each for each in some if each.role == role).name for role in {each.role for each in some}}
        told = [dataclasses.replace(each, **said) if each.name in chosen.values() else each for each in weights]
        optimizer = case.spec.optimizer.build(case.spec.model.site())(told)
        model(**case.inputs()).logits.float().square().mean().backward()
        optimizer.step()
        return list(chosen.values()), model.state_dict()

    before, (_, plain) = case.model.state_dict(), stepped()
    names, still = stepped(lr=1e-30)
    _, decayed = stepped(weight_decay=0.9)
    for name in names:
        assert torch.equal(still[name], before[name]), f"{name} moves at a learning rate of 1e-30 of its own"
        assert not torch.equal(decayed[name], plain[name]), f"a weight_decay of its own does nothing to {name}"
    others = [name for name in before if name not in names]
    assert all(torch.equal(still[name], plain[name]) for name in others), "what is said of one weight changes others"


def loss_is_finite_and_teaches_every_parameter(case: Case) -> None:
    """Fail unless an objective gives a finite loss, and every parameter a gradient."""
    import torch

    from blueprint.model.trial import trial_batch, trial_loss

    model = copy.deepcopy(case.model).train()
    objective = trial_loss(case.spec, case.spec.model.site())
    generator = torch.Generator().manual_seed(1)
    batch = trial_batch(model.plan, 2, LENGTH, objective=case.spec.objective, generator=generator)
    loss, _ = objective(model, batch)
    loss.backward()
    assert loss.isfinite()
    assert loss.item() > 0
    lazy = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not lazy, f"the loss gives no gradient to {', '.join(lazy)}"
