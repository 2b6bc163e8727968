"""Asking a run to stop, from outside and early, and processes that share a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from blueprint.training.callbacks import sample
from blueprint.training.folder import plain_spec, yaml_text
from blueprint.training.run import fit
from tests.training.conftest import MakeSpec
from tests.training.watching import rows

#: Lightning starts further processes by running the same file again. One weight breaks, in the second process only.
BREAKING = """
import sys
from pathlib import Path
import lightning.pytorch as pl
from blueprint.load import load
from blueprint.training.error import NonFinite
from blueprint.training.run import fit

class Break(pl.Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 3 and trainer.global_rank == 1:
            next(pl_module.model.parameters()).data.fill_(float("nan"))

try:
    fit(load(sys.argv[1]), Path(sys.argv[2]), progress=False, callbacks=[Break()])
except NonFinite as error:
    sys.exit(str(error))
"""


def test_a_request_to_stop_that_comes_before_the_first_step_is_met_after_it(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The folder is being taken.
    monkeypatch.setattr(sample, "cut", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    run = fit(make_spec(), tmp_path / "run", progress=False)
    assert (run.status, run.step) == ("interrupted", 1)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "interrupted"


@pytest.mark.slow
@pytest.mark.parametrize("packing", ["continuous", "single"])
def test_two_processes_read_and_learn_what_one_does(packing: str, make_spec: MakeSpec, tmp_path: Path) -> None:
    # Documents that are padded to one length hold different numbers of tokens.
    overrides = ["model.block.dropout=0.0", "model.max_length=120", "data.length=120", f"data.packing={packing}"]
    (tmp_path / "spec.yaml").write_text(yaml_text(plain_spec(make_spec(*overrides))))
    # A file: Lightning starts the second process by running it again.
    (tmp_path / "main.py").write_text("from blueprint.cli.main import main\nmain()\n")
    command = [sys.executable, str(tmp_path / "main.py"), "train", str(tmp_path / "spec.yaml"), "-q"]
    for name, more in (("one", []), ("two", ["trainer.devices=2", "trainer.strategy=ddp"])):
        subprocess.run([*command, "-o", str(tmp_path / name), *more], check=True, capture_output=True, timeout=120)
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert [row["step"] for row in one] == [row["step"] for row in two] == list(range(1, 9))
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
    assert one[-1]["validation_loss"] == pytest.approx(two[-1]["validation_loss"], abs=1e-5)


@pytest.mark.slow
def test_a_number_that_breaks_in_one_process_stops_all_of_them_alike(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec("trainer.devices=2", "trainer.strategy=ddp")
    (tmp_path / "spec.yaml").write_text(yaml_text(plain_spec(spec)))
    (tmp_path / "main.py").write_text(BREAKING)
    command = [sys.executable, str(tmp_path / "main.py"), str(tmp_path / "spec.yaml"), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    said = done.stderr[done.stderr.index("the loss is") :].split("= fix")[0]
    assert "step=000003.ckpt" in said
    # Every row of the batch is named, whichever process read it.
    assert said.count("sample ") == 8
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "broken"
