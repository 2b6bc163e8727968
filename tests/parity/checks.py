"""What holds of every family that is brought in by its family file alone: it gives the same logits, padded or not, the
same loss, gradients and tokens; what is written is what a person would write; and it goes back as it came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from safetensors import safe_open
from torch import Tensor, nn

import blueprint as bp
from blueprint.interop.config import FamilyError
from tests.parity.public import Public

# Of the logits' standard deviation. float32 is within 5e-6 of float64; gelu and its tanh form are further apart.
BAR = 2e-5
SEQUENCES = {"causal", "encoder", "classes", "seq2seq", "clip"}
# For these no config is found without one to begin with, and the export has to refuse: their configs say a thing in two
# ways, or by what no expression leads back from.
ONE_WAY = {"albert", "gpt_neo", "dinov2_bare", "ernie4_5_moe, ends early"}
WORST: dict[str, float] = {}


@dataclass(frozen=True)
class Case:
    """Theirs, the folder it was saved in, what the import wrote, and ours read from that."""

    theirs: Public
    folder: Path
    written: Path
    ours: nn.Module


def imported(theirs: Public, folder: Path, family: Path | None = None) -> Case:
    """Save theirs in a folder and bring it in, by a family that ships unless one is named."""
    from blueprint.interop.import_ import import_folder

    theirs.model.save_pretrained(folder / "theirs")  # type: ignore[operator]
    import_folder(folder / "theirs", folder / "ours", family=family)
    return Case(theirs, folder / "theirs", folder / "ours", bp.restore(folder / "ours").eval())


def agree(case: Case, found: Tensor, expected: Tensor) -> None:
    far = float((found - expected).abs().max() / expected.std())
    WORST[case.theirs.name] = max(WORST.get(case.theirs.name, 0.0), far)
    assert far <= BAR, f"max |Δlogit| is {far:.1e} of their standard deviation"


def longer(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Other ids, and more of them, of what is no picture."""
    random = torch.Generator().manual_seed(3)
    made = dict(inputs)
    for name in ("input_ids", "decoder_input_ids"):
        if name in made:
            made[name] = torch.randint(3, 100, (3, 33 if name == "input_ids" else 21), generator=random)
    made.pop("token_type_ids", None)
    return made


def loss_of(case: Case, model: nn.Module) -> Tensor:
    """A cross-entropy that every logit has a part in."""
    logits = case.theirs.run(model)
    inputs = case.theirs.inputs
    if logits.ndim == 2 or "input_ids" not in inputs:
        logits = logits.flatten(0, -2)
        return F.cross_entropy(logits, torch.arange(len(logits)) % logits.shape[1])
    ids = inputs.get("decoder_input_ids", inputs["input_ids"])
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten() % logits.shape[2])


def first_tie(logits_NV: Tensor) -> int:
    """The first step at which the two best lie too close for float32 to tell."""
    best = logits_NV.topk(2).values
    close = (best[:, 0] - best[:, 1]) < 1e-4 * logits_NV.std()
    return int(close.nonzero()[0]) if close.any() else len(logits_NV)


def fields(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The path of every value that is no map."""
    if not isinstance(node, dict):
        yield path
        return
    for key, value in node.items():
        yield from fields(value, (*path, key))


def without(node: Any, path: tuple[str, ...]) -> Any:
    """The maps without what stands at a path."""
    if len(path) == 1:
        return {key: value for key, value in node.items() if key != path[0]}
    return {**node, path[0]: without(node[path[0]], path[1:])}


class Checks:
    """Tests of a `case`, a fixture of who inherits them."""

    def test_it_learns_the_same_numbers(self, case: Case) -> None:
        ours = sum(parameter.numel() for parameter in case.ours.parameters() if parameter.requires_grad)
        theirs = sum(parameter.numel() for parameter in case.theirs.model.parameters() if parameter.requires_grad)
        assert ours == theirs - case.theirs.entry.get("unused", 0)

    def test_tensors_that_are_one_are_one(self, case: Case) -> None:
        """A tied table counts once among the parameters, and is written once."""
        names = [name for name, _ in case.ours.named_parameters()]
        with safe_open(case.written / "model.safetensors", "pt") as file:
            written = set(file.keys())
        assert set(names) <= written

    @torch.no_grad()
    def test_logits_agree(self, case: Case) -> None:
        theirs, ours = case.theirs, case.ours
        agree(case, theirs.run(ours), theirs.run(theirs.model))
        # Of one text and one image there would be one logit, which has no spread.
        kept = {"input_ids"} if theirs.kind == "clip" else set()
        other = {name: value if name in kept else value[:1] for name, value in theirs.inputs.items()}
        agree(case, theirs.run(ours, other), theirs.run(theirs.model, other))

    @torch.no_grad()
    def test_logits_agree_on_other_text(self, case: Case) -> None:
        if case.theirs.kind not in ("causal", "encoder", "classes", "seq2seq"):
            return
        inputs = longer(case.theirs.inputs)
        agree(case, case.theirs.run(case.ours, inputs), case.theirs.run(case.theirs.model, inputs))

    @torch.no_grad()
    def test_logits_agree_where_a_row_is_padded(self, case: Case) -> None:
        if case.theirs.kind not in SEQUENCES or not case.theirs.entry.get("pads", True):
            return
        inputs = dict(case.theirs.inputs)
        keep = torch.ones_like(inputs["input_ids"])
        keep[1, -(keep.shape[1] // 4) :] = 0
        if case.theirs.kind == "clip":
            # The end token is looked for among all tokens, padding too: there it must not be.
            inputs["input_ids"] = inputs["input_ids"].masked_fill(keep == 0, 3)
        expected, found = (
            case.theirs.run(model, inputs, attention_mask=keep) for model in (case.theirs.model, case.ours)
        )
        if case.theirs.kind in ("causal", "encoder") and expected.ndim == 3:
            expected, found = expected[keep.bool()], found[keep.bool()]
        agree(case, found, expected)

    def test_loss_and_gradients_agree(self, case: Case) -> None:
        found = []
        for model in (case.theirs.model, case.ours):
            model.zero_grad()
            loss = loss_of(case, model)
            loss.backward()
            norms = [parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None]
            found.append((loss.item(), torch.stack(norms).norm().item()))
            model.zero_grad()
        assert found[1] == pytest.approx(found[0], rel=2e-5)

    @torch.no_grad()
    def test_greedy_decoding_gives_the_same_tokens(self, case: Case) -> None:
        if case.theirs.kind not in ("causal", "seq2seq"):
            return
        source = case.theirs.inputs["input_ids"][:, :12]
        asked = {"max_new_tokens": 16, "do_sample": False, "num_beams": 1, "pad_token_id": 0, "eos_token_id": None}
        theirs: Any = case.theirs.model
        made = theirs.generate(
            source,
            attention_mask=torch.ones_like(source),
            output_logits=True,
            return_dict_in_generate=True,
            forced_eos_token_id=None,
            **asked,
        )
        expected = made.sequences
        begins = expected.shape[1] - len(made.logits)
        extra = {"start_id": int(expected[0, 0])} if case.theirs.kind == "seq2seq" else {}
        assert case.ours.incremental
        found = bp.generate(case.ours, source, 16, temperature=0, **extra)
        for row in range(len(source)):
            until = begins + first_tie(torch.stack([step[row] for step in made.logits]))
            assert found[row, :until].tolist() == expected[row, :until].tolist()
            assert until > begins + 4, "too few steps to tell"

    def test_what_is_written_is_what_a_person_would_write(self, case: Case) -> None:
        text = (case.written / "spec.yaml").read_text()
        spec = bp.load(case.written / "spec.yaml")
        said = yaml.safe_load(text)
        depth = 10 * sum(len(stack) for stack in bp.plan(spec).stacks.values())
        assert len(text.splitlines()) < 60 + depth, "layers that repeat are written once"
        for path in fields(said["model"], ("model",)):
            if path[-1] in ("type", "vocab_size") or path[1] in ("blocks", "pattern", "overrides"):
                continue
            shorter = without(said, path)
            try:
                plan = bp.plan(bp.load(shorter))
            except bp.SpecError:
                continue
            assert plan.hash != bp.plan(spec).hash, f"{'.'.join(path)} says what would be so anyway"

    @torch.no_grad()
    def test_it_goes_back_as_it_came(self, case: Case, tmp_path: Path) -> None:
        bp.export_hf(case.ours, tmp_path / "back")
        before, after = (safe_open(folder / "model.safetensors", "pt") for folder in (case.folder, tmp_path / "back"))
        with before, after:
            assert sorted(before.keys()) == sorted(after.keys())
            for name in before.keys():  # noqa: SIM118
                ours, theirs = after.get_tensor(name), before.get_tensor(name)
                assert ours.dtype == theirs.dtype
                assert torch.equal(ours.flatten().view(torch.uint8), theirs.flatten().view(torch.uint8)), name
        again = type(case.theirs.model).from_pretrained(tmp_path / "back", attn_implementation="eager").eval()  # type: ignore[attr-defined]
        assert torch.equal(case.theirs.run(again), case.theirs.run(case.theirs.model))

    @torch.no_grad()
    def test_a_model_that_was_made_here_goes_out(self, case: Case, tmp_path: Path) -> None:
        """With no config to go by, its family writes one that the library takes for the same model."""
        made = bp.build(bp.load(case.written / "spec.yaml"))
        made.load_state_dict(case.ours.state_dict())
        if case.theirs.name in ONE_WAY:
            with pytest.raises(FamilyError):
                bp.export_hf(made, tmp_path / "made", family=case.written / "family.yaml")
            return
        bp.export_hf(made, tmp_path / "made", family=case.written / "family.yaml")
        again = type(case.theirs.model).from_pretrained(tmp_path / "made", attn_implementation="eager").eval()  # type: ignore[attr-defined]
        agree(case, case.theirs.run(again), case.theirs.run(case.theirs.model))
