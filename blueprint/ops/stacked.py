"""Many copies of one token-wise module, their parameters stacked, each working on rows of its own.

R rows, D width, E copies.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from blueprint.ops.flow import Flow
from blueprint.ops.grouped import GroupedLinear, Groups
from blueprint.ops.terms import merge_terms


def stack(one: nn.Module, copies: int) -> nn.Module:
    """The module itself, made to be `copies` of it: each parameter (…) becomes (E, …) under its old name.

    Where all that learns is in linear maps, these become grouped products. A module with parameters of any other kind
    is run copy by copy: the same result, slower where copies are many. What each copy starts from is drawn by itself
    (`blueprint.model.initialise`). Its attribute `stacked` says how many it is.
    """
    every = one.named_modules(remove_duplicate=False)
    linear = {name: module for name, module in every if isinstance(module, nn.Linear)}
    grouped = all(name.rpartition(".")[0] in linear for name, _ in one.named_parameters())
    one.stacked = copies  # type: ignore[assignment]
    one.groups = groups = Groups() if grouped else None  # type: ignore[assignment]
    if groups is not None:
        made: dict[nn.Module, GroupedLinear] = {}  # a map that stands in two places stays one
        for name, each in linear.items():
            sizes = (each.in_features, each.out_features, each.bias is not None)
            role = getattr(each, "role", "linear")
            one.set_submodule(name, made.setdefault(each, GroupedLinear(copies, *sizes, role, groups)))
        return one
    for module in one.modules():
        for name, parameter in module.named_parameters(recurse=False):
            many = parameter.detach().expand(copies, *parameter.shape).clone()
            setattr(module, name, nn.Parameter(many, parameter.requires_grad))
            module.copies = copies  # type: ignore[assignment]
    return one


def run_stacked(many: nn.Module, x_RD: Tensor, flow: Flow, groups: Groups) -> tuple[Tensor, dict[str, Tensor]]:
    """Rows (R, D) in groups, each through its group's copy of a module that was `stack`ed: (R, D) and the terms.

    Whoever holds but some of the copies here sets the module's `elsewhere`, called in place of this.
    """
    elsewhere = getattr(many, "elsewhere", None)
    run = run_here if elsewhere is None else elsewhere
    found: tuple[Tensor, dict[str, Tensor]] = run(many, x_RD, flow, groups)
    return found


def run_here(many: nn.Module, x_RD: Tensor, flow: Flow, groups: Groups) -> tuple[Tensor, dict[str, Tensor]]:
    """The same, of copies that are all here, one for each group."""
    shared = many.groups
    if isinstance(shared, Groups):
        shared.follow(groups)
        y_1RD, told = many(x_RD[None], flow)
        return y_1RD[0], told
    done: tuple[Tensor, dict[str, Tensor]] = _one_by_one(many, x_RD, flow, groups)
    return done


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _one_by_one(many: nn.Module, x_RD: Tensor, flow: Flow, groups: Groups) -> tuple[Tensor, dict[str, Tensor]]:
    parameters = dict(many.named_parameters())
    slices = list(zip(*(each.unbind(0) for each in parameters.values()), strict=True))
    # Where sizes cannot be read one copy stands for all: shapes and work are the same.
    spans = groups.spans() if groups.readable else [(0, 0, len(x_RD))]
    found: list[Tensor] = []
    terms: dict[str, Tensor] = {}
    end = 0
    for group, start, end in spans or [(0, 0, 0)]:
        own = dict(zip(parameters, slices[group], strict=True))
        y_1RD, more = functional_call(many, own, (x_RD[None, start:end], flow))
        merge_terms(terms, more)
        found.append(y_1RD[0])
    if end < len(x_RD):
        found.append(torch.zeros_like(x_RD[end:]))
    return torch.cat(found), terms
