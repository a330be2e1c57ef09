"""The steps of the report on a device in their order: what matters most comes first. Nothing heavy is imported."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """A step: a generator of rows, run in a process of its own."""

    name: str
    place: str  # module:function in this folder
    estimate: int  # seconds on an H200 with 16 cores, which tests hold to eight minutes in all
    limit: int  # seconds


STEPS = {
    step.name: step
    for step in (
        Step("first", "first:first_call", 30, 75),  # does it run at all
        Step("cache", "first:fill_cache", 25, 90),
        Step("tests", "first:run_tests", 65, 120),
        Step("profile", "profiling:profile_quantize", 30, 60),
        Step("times", "operations:time_operations", 50, 80),
        Step("sanitizer", "sturdiness:sanitize", 80, 90),
        Step("repeats", "sturdiness:repeat", 25, 45),
        Step("comparisons", "checks:compare", 60, 90),
        Step("features", "features:time_features", 40, 60),
        Step("peers", "peers:time_peers", 25, 45),
        Step("scikit-learn", "peers:time_scikit_learn", 50, 70),
    )
}
