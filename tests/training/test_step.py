"""What an optimizer step is: the same as a loop written by hand over the same batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import blueprint as bp
from blueprint.model.build import build_plan
from blueprint.training.data.loader import loader
from blueprint.training.run import fit
from blueprint.training.task import prepare
from tests.training.conftest import MakeSpec
from tests.training.watching import last_checkpoint, rows


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_run_is_the_loop_one_would_write_by_hand(accumulate: int, make_spec: MakeSpec, tmp_path: Path) -> None:
    # Four batches an epoch: in threes, a step of three and a step of the one that is left.
    spec = make_spec(
        *("model.block.dropout=0.0", "optimizer.weight_decay=0.5", "trainer.gradient_clip_val=0.5"),
        f"trainer.accumulate_grad_batches={accumulate}",
    )
    fit(spec, tmp_path / "run", progress=False)

    text, model = prepare(spec), build_plan(bp.plan(spec), seed=spec.seed)
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.5},
        {"params": vectors, "weight_decay": 0.0},
    ]
    assert vectors
    optimizer = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.95), eps=1e-8)
    losses, norms = [], []
    for epoch in range(8):
        batches = list(loader(text.train, batch_size=8, start=4 * epoch))
        for group in (batches[at : at + accumulate] for at in range(0, len(batches), accumulate)):
            if len(losses) == 8:
                break
            for each in optimizer.param_groups:
                each["lr"] = 3e-3 * spec.schedule.factor(len(losses), 8)
            optimizer.zero_grad()
            step = [F.cross_entropy(model(b["input_ids"]).logits.flatten(0, 1), b["labels"].flatten()) for b in group]
            loss = torch.stack(step).mean()
            loss.backward()
            norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)))
            optimizer.step()
            losses.append(loss.item())

    logged = rows(tmp_path / "run")
    assert [row["loss"] for row in logged] == pytest.approx(losses, rel=1e-5)
    assert [row["gradient_norm"] for row in logged] == pytest.approx(norms, rel=1e-4)
    assert max(norms) > 0.5
    weights = last_checkpoint(tmp_path / "run")["state_dict"]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(weights[f"model.{name}"], value, rtol=1e-3, atol=1e-5)
