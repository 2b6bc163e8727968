"""Soft targets against torch's own KL divergence, written out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import blueprint as bp
from blueprint.component import Site
from blueprint_registry.objective import distillation_nn
from blueprint_registry.objective.distillation import Distillation

SITE = Site(d_model=8, width=8)
SMALL: dict[str, Any] = {"d_model": 16, "layers": 1, "max_length": 12, "block": {"attention": {"heads": 2}}}
ASKED: dict[str, dict[str, Any]] = {
    "causal": {"type": "decoder", **SMALL, "vocab_size": 19},
    "masked": {"type": "encoder", **SMALL, "vocab_size": 19, "head": "masked_language_model"},
    "classification": {
        "type": "encoder",
        **SMALL,
        "vocab_size": 19,
        "head": {"type": "classification", "labels": 5},
    },
    "seq2seq": {"type": "encoder_decoder", **SMALL, "vocab_size": 19},
}


def draw(*shape: int, below: int = 19, seed: int = 0) -> Tensor:
    return torch.randint(below, shape, generator=torch.Generator().manual_seed(seed))


def batch_of(hard: str) -> dict[str, Tensor]:
    labels = draw(3, below=5, seed=1) if hard == "classification" else draw(3, 7, seed=1)
    labels[0] = -100
    ids = {"input_ids": draw(3, 7)}
    return {**ids, "labels": labels} | ({"decoder_input_ids": draw(3, 7, seed=2)} if hard == "seq2seq" else {})


def made(hard: str, seed: int, **said: Any) -> Any:
    """A model whose answers are far from even."""
    model = bp.build(bp.load({"model": {**ASKED[hard], **said}, "objective": None, "sample": None}))
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=drawn))
    return model


def logits_of(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """The model's predictions that count, (N, C)."""
    out: Tensor = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
    return out[batch["labels"] != -100]


def objective(teacher: Any, hard: str = "causal", **said: Any) -> Any:
    found = Distillation(teacher="there", hard=hard, **said).build(SITE)
    found.meet({"teacher": teacher.eval().requires_grad_(False)})
    return found


@pytest.mark.parametrize("hard", ASKED)
@pytest.mark.parametrize(("temperature", "alpha"), [(1.0, 0.0), (3.0, 0.3)])
def test_it_is_the_divergence_at_the_temperature_and_the_loss_of_the_labels(
    hard: str, temperature: float, alpha: float
) -> None:
    student, teacher, batch = made(hard, 1).train(), made(hard, 2, d_model=32), batch_of(hard)
    loss, metrics = objective(teacher, hard, temperature=temperature, alpha=alpha)(student, batch)
    loss.backward()
    found = {name: p.grad for name, p in student.named_parameters()}
    student.zero_grad()
    q, p = logits_of(student, batch), logits_of(teacher, batch).detach()
    soft = temperature**2 * F.kl_div(
        F.log_softmax(q / temperature, -1), F.softmax(p / temperature, -1), reduction="batchmean"
    )
    labels = F.cross_entropy(q, batch["labels"][batch["labels"] != -100])
    wanted = (1 - alpha) * soft + alpha * labels
    wanted.backward()
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(metrics["distillation"], soft.detach())
    torch.testing.assert_close(metrics["loss"], labels.detach())
    for name, parameter in student.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, msg=name)
    assert all(p.grad is None for p in teacher.parameters())


def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn() -> None:
    student = made("causal", 1).train()
    loss, _ = objective(copy.deepcopy(student), alpha=0.0)(student, batch_of("causal"))
    loss.backward()
    assert abs(loss.item()) < 1e-6
    assert all(p.grad is not None and p.grad.abs().max() < 1e-5 for p in student.parameters())


def test_outside_training_it_is_the_loss_of_the_labels_and_asks_nobody() -> None:
    student, batch = made("causal", 1).eval(), batch_of("causal")
    loss, metrics = Distillation(teacher="there", hard="causal").build(SITE)(student, batch)
    torch.testing.assert_close(loss, F.cross_entropy(logits_of(student, batch), batch["labels"][1:].flatten()))
    assert "distillation" not in metrics
    with pytest.raises(TypeError, match="has met its teacher"):
        Distillation(teacher="there", hard="causal").build(SITE)(student.train(), batch)


@pytest.mark.parametrize("said", [{}, {"cache": {"top": 4}}, {"cache": {"numbers": "float32"}}])
def test_chunks_of_predictions_add_up_to_the_whole(said: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    student, batch = made("causal", 1).train(), batch_of("causal")
    asked, found = objective(made("causal", 2), **said), []
    for rows in (256, 3):
        monkeypatch.setattr(distillation_nn, "CHUNK_ROWS", rows)
        monkeypatch.setattr(distillation_nn, "CHUNK_NUMBERS", 1)
        student.zero_grad()
        loss, _ = asked(student, batch)
        loss.backward()
        found.append([loss.detach(), *(p.grad.clone() for p in student.parameters())])
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cache", [{"numbers": "float32"}, {}, {"top": 3}, {"top": 40}])
def test_answers_from_disk_are_the_teachers_own(cache: dict[str, Any]) -> None:
    student, batch = made("causal", 1).train(), batch_of("causal")
    asked = objective(made("causal", 2), cache=cache, temperature=3.0)
    told = asked.answers(batch)
    assert told["soft"].dtype == getattr(torch, cache.get("numbers", "float16"))
    assert ("soft_of" in told) == (cache.get("top", 99) < 19)
    anew, _ = asked(student, batch)
    asked.meet({})
    torch.testing.assert_close(asked(student, batch | told)[0], anew, atol=0, rtol=1e-6)


@pytest.mark.parametrize(("cache", "off"), [({"numbers": "float32"}, 1e-6), ({}, 2e-3)])
def test_all_answers_kept_are_the_divergence_itself_to_rounding(cache: dict[str, Any], off: float) -> None:
    student, batch, teacher = made("causal", 1).train(), batch_of("causal"), made("causal", 2)
    plain, kept = (objective(teacher, cache=each)(student, batch)[0] for each in (None, cache))
    torch.testing.assert_close(kept, plain, atol=off, rtol=off)


def test_the_likeliest_answers_are_kept_and_the_rest_are_one_class() -> None:
    student, batch, teacher = made("causal", 1).train(), batch_of("causal"), made("causal", 2)
    said: dict[str, Any] = {"temperature": 2.0, "alpha": 0.0, "cache": {"top": 3, "numbers": "float32"}}
    loss, _ = objective(teacher, **said)(student, batch)
    p, q = (F.softmax(logits_of(each, batch) / 2, -1) for each in (teacher, student))
    best = p.topk(3, -1).indices
    p, q = (torch.cat([x.gather(1, best), 1 - x.gather(1, best).sum(1, True)], 1) for x in (p, q))
    wanted = 4 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(loss, wanted, atol=1e-5, rtol=1e-5)


def test_a_batch_of_fillers_is_zero() -> None:
    student, batch = made("causal", 1).train(), batch_of("causal")
    batch["labels"] = torch.full_like(batch["labels"], -100)
    loss, metrics = objective(made("causal", 2))(student, batch)
    loss.backward()
    assert (loss.item(), int(metrics["tokens"])) == (0, 0)


TEXT = """\
model: {type: decoder, d_model: 16, layers: 1, max_length: 8, block: {attention: {heads: 2}}}
tokenizer: byte
objective:
  type: distillation
  teacher: runs/large
"""


@pytest.mark.parametrize(
    ("said", "line", "message"),
    [
        ("  hard: contrastive\n", 6, "predicts by no softmax of its own"),
        ("  hard: {type: distillation, teacher: runs/larger, hard: causal}\n", 6, "predicts by no softmax of its own"),
        ("  hard: masked\n", 3, "objective `distillation` trains models of type encoder, not decoder"),
        ("  hard: {type: fill_in_the_middle}\n  cache: {}\n", 7, "makes new samples every epoch"),
        ("  hard: {type: causal, z_loss: 0.1}\n  alpha: 0\n", 7, "`z_loss` does nothing"),
        ("  hard: causal\n  alpha: 1\n", 7, "less than 1"),
        ("", 3, "hard"),
    ],
)
def test_what_does_not_go_together_is_told_where_it_is_said(said: str, line: int, message: str) -> None:
    with pytest.raises(bp.SpecError) as error:
        bp.loads(TEXT + said)
    assert any(
        problem.span is not None and problem.span.line == line and message in str(problem)
        for problem in error.value.problems
    ), str(error.value)


def test_what_is_asked_is_what_the_objective_inside_asks() -> None:
    spec = bp.loads(TEXT + "  hard: causal\n")
    assert spec.objective is not None
    assert {"next_token", "every_token", "softmax"} <= spec.objective.traits
    assert spec.objective.models == {"decoder"}
    assert spec.objective.samples == {"text"}
    pairs = TEXT.replace("decoder", "encoder_decoder") + "  hard: {type: seq2seq, start: pad}\n"
    with pytest.raises(bp.SpecError, match=r"objective\.hard\.start"):
        bp.loads(pairs + "data: {source: reversal}\n")
