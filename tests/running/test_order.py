"""How a run is dealt into parts, and what a training check trains."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from suite.running.order import Shard, pairs_to_train, training_check
from suite.running.tasks import Task
from tests.made_up import record_row

ITEMS = st.lists(
    st.builds(
        Task, st.just("cell"), st.sampled_from("abc"), st.sampled_from([2, 8]), st.sampled_from(["0", "last"])
    ),
    min_size=1,
    unique_by=lambda task: task.name,
)


@given(tasks=ITEMS, count=st.integers(1, 6))
def test_each_task_is_in_one_part_and_a_training_check_is_where_its_cells_are(
    tasks: list[Task], count: int
) -> None:
    cases = {task.case for task in tasks}
    checks = [training_check([task for task in tasks if task.case == case]) for case in sorted(cases)]
    parts = [Shard(f"{k}/{count}").choose(tasks, checks) for k in range(1, count + 1)]
    names = [name for part in parts for name in part]
    assert sorted(names) == sorted(task.name for task in (*tasks, *checks))
    for one in checks:
        home = next(part for part in parts if one.name in part)
        needed = [
            i for i in tasks if (i.case, i.batch_size) == (one.case, one.batch_size) and i.batch != "last"
        ]
        assert all(task.name in home for task in needed)


def test_a_training_check_is_a_task_a_pair_with_rates_of_its_own_full_batches() -> None:
    whole = training_check([Task("cell", "mse", size, "0") for size in (2, 32)])
    assert whole.batch_size == 2
    rows = [record_row(), record_row(batch="1"), record_row(batch_size=32, samples=32, scale=32.0)]
    rows += [record_row(convention="same", scale=1.0, verdict="rounding")]
    rows += [record_row(convention="apart", verdict="direction")]
    (found,) = pairs_to_train(whole, rows)
    assert found.pair == ("sum", "mean")
    assert [rate["factor"] for rate in found.rates] == [0.5]
    assert found.name == "mse, training check of sum ≠ mean at batch size 2"
