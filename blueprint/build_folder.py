"""What `blueprint build` makes: a folder with the model written out, proved to run, costed and drawn.

FOLDER/spec.yaml            the resolved spec
FOLDER/lock.json            versions, hashes of spec, plan, tokenizer and plugins, the seed, and what was run as proof
FOLDER/plan.json, plan.txt  every layer and part written out
FOLDER/cost.json            parameters, operations, memory, cache
FOLDER/architecture.png, .svg
FOLDER/model.safetensors    seeded weights, where asked for
FOLDER/tokenizer.json       a copy, where the spec names such a file
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from blueprint.cost import Cost, cost
from blueprint.cost.units import count
from blueprint.files import atomic_path, room_for, sweep, write_atomic
from blueprint.model.build import build_plan
from blueprint.model.trial import trial_batch, trial_loss
from blueprint.picture import picture
from blueprint.plan import Plan, plan
from blueprint.render import plan_plain
from blueprint.schema.spec import Spec
from blueprint.training.error import TrainError
from blueprint.training.folder import lock, write_json, yaml_text
from blueprint.training.kept import copied

#: Above so many parameters the miniature is run in the model's stead.
WHOLE = 200_000_000
_TOKENS = 64


class BuildError(RuntimeError):
    """A model that was built but does not run as it should."""


@dataclass(frozen=True)
class Proof:
    """What was run, forward and backward: the `whole` model or its `miniature`, and the loss it gave."""

    ran: str
    parameters: int
    batch: int
    length: int
    loss: float


@dataclass(frozen=True)
class Built:
    """A build folder and what is in it."""

    folder: Path
    plan: Plan
    cost: Cost
    proof: Proof
    files: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """The build as JSON-ready values."""
        return {
            "folder": str(self.folder),
            "name": self.plan.name,
            "hash": self.plan.hash,
            "parameters": self.cost.parameters,
            "proof": asdict(self.proof),
            "files": list(self.files),
        }

    def __str__(self) -> str:
        proof = self.proof
        ran = "the whole model" if proof.ran == "whole" else f"its miniature ({count(proof.parameters)} parameters)"
        return (
            f"{self.plan.name}: plan {self.plan.hash}, {count(self.cost.parameters)} parameters\n"
            f"ran {ran} forward and backward on {proof.batch} × {proof.length} tokens: loss {proof.loss:.4f}\n"
            f"wrote {self.folder}: {', '.join(self.files)}"
        )


def build_folder(spec: Spec, folder: str | Path, *, weights: bool = False) -> Built:
    """Build a spec, prove that it runs, and write down what it is; a folder of an earlier build is written anew.

    Raises `TrainError` where the folder holds something else, `BuildError` where the model does not run as it should.
    """
    folder = Path(folder)
    sweep(folder)
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / "plan.json").exists())):
        raise TrainError(f"{folder} holds something that is no build, which is not overwritten: choose another folder")
    found = plan(spec)
    shapes = build_plan(found, device="meta")
    small = sum(parameter.numel() for parameter in shapes.parameters()) > WHOLE
    tried = found.miniature() if small else found
    model = build_plan(tried, seed=spec.seed)
    proof = prove(spec, tried, model, "miniature" if small else "whole")
    measured = cost(spec)
    # First: by it a folder is known as a build, that may be written anew however far this one gets.
    write_json(folder / "plan.json", plan_plain(found))
    text = yaml_text(copied(spec, folder))
    fingerprint = getattr(spec.tokenizer, "fingerprint", None)
    kept = lock(spec, found.hash, {} if fingerprint is None else {"tokenizer": fingerprint})
    kept |= {"spec": hashlib.sha256(text.encode()).hexdigest(), "proof": asdict(proof)}
    # Weights of an earlier build must not lie beside another spec, not for a moment.
    (folder / "model.safetensors").unlink(missing_ok=True)
    write_atomic(folder / "spec.yaml", text)
    write_json(folder / "lock.json", kept)
    write_atomic(folder / "plan.txt", f"{found}\n")
    write_json(folder / "cost.json", measured.to_plain())
    note = f"{count(measured.parameters)} parameters ({measured.parameters:,})"
    for form in ("png", "svg"):
        write_atomic(folder / f"architecture.{form}", picture(found, form, note))
    if weights:
        _save(build_plan(found, seed=spec.seed) if small else model, folder / "model.safetensors")
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return Built(folder, found, measured, proof, tuple(names))


def prove(spec: Spec, tried: Plan, model: nn.Module, ran: str) -> Proof:
    """Run a model forward and backward on random ids, under the spec's own objective where it has one.

    Raises `BuildError` where the loss is not finite, or a parameter gets no gradient or one that is not finite.
    """
    site = tried.site
    length = min(_TOKENS, site.max_length or _TOKENS)
    generator = torch.Generator().manual_seed(spec.seed)
    batch = trial_batch(tried, 2, length, objective=spec.objective, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(spec.seed)
        loss, _ = trial_loss(spec, site)(model.train(), batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise BuildError(f"the loss of {tried.name} on random inputs is {value}")
        loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and (parameter.grad is None or not bool(parameter.grad.isfinite().all())):
            what = "no gradient" if parameter.grad is None else "a gradient that is not finite"
            raise BuildError(f"the parameter {name} of {tried.name} gets {what}")
    model.zero_grad(set_to_none=True)
    return Proof(ran, sum(parameter.numel() for parameter in model.parameters()), 2, length, value)


def _save(model: nn.Module, path: Path) -> None:
    """Write weights; one that has two names (a tied head, a shared layer) is written under its first."""
    from safetensors.torch import save_file

    seen: dict[int, str] = {}
    state = {
        name: tensor.detach().contiguous()
        for name, tensor in model.state_dict(keep_vars=True).items()
        if seen.setdefault(id(tensor), name) == name
    }
    takes = sum(tensor.nbytes for tensor in state.values())
    with room_for(path, takes), atomic_path(path) as temporary:
        save_file(state, temporary, metadata={"format": "pt"})
