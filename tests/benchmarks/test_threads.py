import torch
from threads import bench_threads

from ulmus.bench import WORKLOADS


def test_threads_are_measured_and_put_back(monkeypatch):
    monkeypatch.setitem(WORKLOADS, "D", WORKLOADS["D"]._replace(time=40))
    before = torch.get_num_threads()
    rows = bench_threads(["D"], most=2)
    assert torch.get_num_threads() == before
    assert [(row.workload, row.threads) for row in rows] == [("D", 1), ("D", 2), ("sgemm", 1), ("sgemm", 2)]
    assert [row.ratio_to_one_thread for row in rows if row.threads == 1] == [1, 1]
    assert all(row.wall_seconds > 0 for row in rows)
