"""The smallest run of the benchmark that measures everything, for tests that need a real one."""

from __future__ import annotations

from apportion.bench.settings import Gradient, Identification, Learning, Settings
from apportion.bench.suites import Suite

TINY = Suite(
    title="as little as possible",
    tasks=("bifurcation/horizon-10",),
    methods=("rloo", "pooled_td"),
    seeds=2,
    settings=Settings(
        gradient=Gradient(batch_sizes=(64,), replicates=(2,)),
        learning=Learning(batch_sizes=(64,), lrs=(1.0,), max_updates=2),
        identification=Identification(batch=64),
    ),
)
