from __future__ import annotations

import json

import pytest

from tests.benchmarks.__main__ import BENCHMARKS, main
from tests.benchmarks.measuring import Goal, Spent, ratio


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_runs_and_says_what_it_measured(name, tmp_path, capsys):
    main(["--quick", "--json", "--only", name, "--output", str(tmp_path / "bench.json")])
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "bench.json").read_text())
    assert told["results"]
    for result in told["results"]:
        assert (result["verdict"] == "not installed") == (result["figure"] is None)
        assert result["figure"] is None or result["figure"] >= 0


def test_a_ratio_compares_rounds_and_takes_the_middle_one():
    reference = [Spent(2, 9), Spent(4, 9), Spent(9, 9)]
    ours = [Spent(1, 9), Spent(1, 9), Spent(1, 3)]
    assert ratio(reference, ours, "cpu") == 4
    assert ratio(reference, ours, "wall") == 1


def test_a_goal_may_be_a_floor_or_a_ceiling():
    assert Goal(20).met_by(20)
    assert not Goal(20).met_by(19.9)
    assert not Goal(2, at_most=True).met_by(2.1)
