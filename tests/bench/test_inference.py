"""`uad bench inference` measures what it says."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from uad.bench import inference
from uad.bench.arithmetic_bound import operations, peak_rate, processor
from uad.bench.tables import cost, floors, parts, speed, workers
from uad.bundle import read_bundle
from uad.config import InputSpec
from uad.errors import EngineError

KEYS = ["onnxruntime/fp32", "onnxruntime/int8", "openvino/int8"]


@pytest.fixture(scope="module")
def outcome() -> inference.SpeedReport:
    """A tiny run: width 8 at 64 px."""
    return inference.run(
        engines=KEYS,
        sizes=[64],
        batches=[1, 3],
        threads=[1],
        rounds=2,
        runs=2,
        peak_runs=1,
        width=8,
    )


def test_every_engine_is_measured_in_every_setting(outcome: inference.SpeedReport) -> None:
    assert [(f.engine, f.batch) for f in outcome.figures] == [
        (key, batch) for batch in (1, 3) for key in KEYS
    ]
    for figure in outcome.figures:
        assert 0 < figure.median_ms <= figure.p95_ms
        assert figure.images_per_second == pytest.approx(1e3 * figure.batch / figure.median_ms)
        assert 20 < figure.peak_mib < 2000


def test_the_reference_is_at_ratio_one_and_differs_from_nothing(
    outcome: inference.SpeedReport,
) -> None:
    exact = [figure for figure in outcome.figures if figure.engine == "onnxruntime/fp32"]
    assert all((f.ratio, f.map_difference, f.score_difference) == (1, 0, 0) for f in exact)
    rounded = [figure for figure in outcome.figures if figure.engine.endswith("int8")]
    assert all(0 < f.map_difference < 1 for f in rounded)


def test_the_parts_cost_is_measured_beside_the_student_alone(
    outcome: inference.SpeedReport,
) -> None:
    for key in KEYS:
        alone, everything, quick = (one for one in outcome.parts if one.engine == key)
        assert (alone.parts, alone.ratio) == ("student alone", 1)
        assert everything.parts == "all parts"
        assert everything.ratio == pytest.approx(everything.median_ms / alone.median_ms)
        assert "without student" in quick.parts


def test_the_outcome_is_json_and_tables(outcome: inference.SpeedReport) -> None:
    stored = json.loads(outcome.to_json())
    assert len(stored["figures"]) == 6
    for table in (speed, cost, workers, floors, parts):
        columns, rows = table(outcome)
        assert all(len(row) == len(columns) for row in rows)


def test_the_operations_are_those_of_two_resnets_up_to_layer3() -> None:
    macs = 128**2 * 64 * 147  # conv1
    macs += 4 * 64**2 * 64 * 576  # layer1
    macs += 32**2 * 128 * (576 + 3 * 1152 + 64)  # layer2
    macs += 16**2 * 256 * (1152 + 3 * 2304 + 128)  # layer3
    assert operations(64, InputSpec(height=256, width=256)) == 4 * macs


def test_the_peak_is_a_rate_that_processors_reach() -> None:
    assert 1e8 < peak_rate(int8=False, threads=1, runs=2) < 1e14
    assert "cores" in processor()


def test_workers_of_one_thread_are_compared_with_one_of_many(
    random_bundle: Callable[[int], Path],
) -> None:
    found = inference.run(
        read_bundle(random_bundle(3)),
        engines=["onnxruntime/fp32"],
        sizes=[32],
        batches=[1],
        threads=[2],
        rounds=1,
        runs=1,
        rate_seconds=0.1,
        peak_runs=1,
    )
    (compared,) = found.throughput
    assert compared.workers == 2
    assert min(compared.together, compared.alone) > 1


def test_engines_that_cannot_be_had_are_left_out_and_none_at_all_is_an_error() -> None:
    with pytest.raises(EngineError, match="paddle/int8"):
        inference.run(engines=["paddle/int8"], sizes=[32], threads=[1], width=8)
