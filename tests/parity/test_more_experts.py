"""Families with experts beyond the public ones: held to the library's own model in the same way."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.interop.family import read_family
from blueprint.interop.solve import solve
from tests.parity.checks import Case, Checks, imported
from tests.parity.public import made

SIZE = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
BASE = {**SIZE, "intermediate_size": 40, "max_position_embeddings": 64, "num_experts_per_tok": 2}
FINE = {**BASE, "moe_intermediate_size": 24}

#: Names of the library's classes, less what they end in, with settings.
ENTRIES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3_moe": ("Qwen3Moe", {**FINE, "num_experts": 5}),
    "qwen3_moe, some layers": (
        "Qwen3Moe",
        {**FINE, "num_experts": 5, "norm_topk_prob": True, "mlp_only_layers": [1], "router_aux_loss_coef": 0.0},
    ),
}


def entry(name: str) -> dict[str, Any]:
    import transformers

    stem, config = ENTRIES[name]
    model_class = f"{stem}ForCausalLM"
    common = {"vocab_size": 101, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config_class = getattr(transformers, model_class).config_class.__name__
    return {
        "config_class": config_class,
        "model_class": model_class,
        "kind": "causal",
        "config": {**common, **config},
    }


@pytest.fixture(scope="module", params=ENTRIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    random = torch.Generator().manual_seed(11)
    inputs = {"input_ids": torch.randint(3, 100, (2, 24), generator=random).tolist()}
    said = {**entry(request.param), "inputs": inputs}
    return imported(made(request.param, said), tmp_path_factory.mktemp("family"))


class TestMoreExperts(Checks):
    """Everything that holds of families, of these."""

    def test_a_config_of_it_is_had_from_the_spec_alone(self, case: Case) -> None:
        """What the family says of the model was solved for, and fills to the same plan."""
        family = json.loads((case.written / "import.json").read_text())["family"]
        spec = bp.load(case.written / "spec.yaml")
        assert solve(spec, read_family(family)).plan.hash == bp.plan(spec).hash
