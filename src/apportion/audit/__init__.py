"""Credit quality on your own task: continuations at restored prefixes of your rollouts, and what they say of each method.

design     which units are asked, and how many continuations each gets
ask        the questions themselves, in two halves that know nothing of each other
estimate   correlation and sign agreement of credit with the change in value, the noise taken out, with intervals
budget     what was spent on noise, and what would settle the rest
subjects   whose rollouts: a task of the benchmark, a text world, an environment or a sampler of your own
"""

from .environment import Environment, Episode
from .run import Report, audit
from .subjects import Subject

__all__ = ["Environment", "Episode", "Report", "Subject", "audit"]
