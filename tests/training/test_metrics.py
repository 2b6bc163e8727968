"""metrics.csv can be read at any moment, and after a crash holds each step once."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from blueprint.training.metrics import COLUMNS, Table, read


def test_values_of_one_step_share_a_row(tmp_path: Path) -> None:
    table = Table(tmp_path / "m.csv")
    table.put(1, {"loss": 3.5})
    table.put(2, {"loss": 3.25})
    table.put(2, {"validation_loss": 3.0})
    assert read(tmp_path / "m.csv") == [{"step": 1, "loss": 3.5}, {"step": 2, "loss": 3.25, "validation_loss": 3.0}]


def test_a_column_may_come_late(tmp_path: Path) -> None:
    table = Table(tmp_path / "m.csv")
    table.put(1, {"loss": 1.5})
    table.put(2, {"loss": 1.0, "router_balance": 0.5})
    table.put(3, {"loss": 0.5})
    assert read(tmp_path / "m.csv") == [
        {"step": 1, "loss": 1.5},
        {"step": 2, "loss": 1.0, "router_balance": 0.5},
        {"step": 3, "loss": 0.5},
    ]
    assert (tmp_path / "m.csv").read_text().startswith(",".join(COLUMNS) + ",router_balance\n")


def test_rows_of_a_future_that_did_not_happen_go(tmp_path: Path) -> None:
    table = Table(tmp_path / "m.csv")
    for step in range(1, 6):
        table.put(step, {"loss": float(step)})
    again = Table(tmp_path / "m.csv", after=3)
    again.put(3, {"validation_loss": 9.5})
    again.put(4, {"loss": 44.0})
    assert [row["step"] for row in read(tmp_path / "m.csv")] == [1, 2, 3, 4]
    assert read(tmp_path / "m.csv")[2:] == [
        {"step": 3, "loss": 3, "validation_loss": 9.5},
        {"step": 4, "loss": 44},
    ]


def test_a_last_line_cut_short_by_a_crash_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    Table(path).put(1, {"loss": 2.5})
    with open(path, "a") as file:
        file.write("2,99,3.1")
    assert read(path) == [{"step": 1, "loss": 2.5}]
    Table(path).put(2, {"loss": 2.0})
    assert [row["loss"] for row in read(path)] == [2.5, 2.0]


@given(st.floats(allow_nan=False))
def test_a_number_comes_back_to_the_last_bit(value: float) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.csv"
        Table(path).put(1, {"loss": value})
        assert read(path)[0]["loss"] == value
