"""``apportion audit``: how well methods' credit agrees with what continuations of your own policy show."""

from __future__ import annotations

import json as _json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import AsJson, listed, opened, reads_log
from .progress import progress

if TYPE_CHECKING:
    from ..audit.subjects import Subject

Env = Annotated[
    str,
    typer.Option("--env", help="A task id, textworld, or FILE.py:NAME: an environment, or a function (batch) -> sampler."),
]
Policy = Annotated[
    str | None, typer.Option("--policy", help="FILE.py:NAME: a function (history, rng) -> action text.", show_default=False)
]
Log = Annotated[
    Path | None,
    typer.Option("--log", help="Your rollouts, for a sampler; for an environment JSON lines of episodes.", show_default=False),
]


@reads_log
def audit(
    env: Env,
    methods: Annotated[str, typer.Option("--methods", help="Ids separated by commas; knobs as in vineppo@k=16.")],
    reading: dict[str, Any],
    policy: Policy = None,
    log: Log = None,
    budget: Annotated[int, typer.Option(help="Continuations of the policy to spend.", min=1)] = 8192,
    per_unit: Annotated[int, typer.Option(help="Of these for one unit: before and after it, in two halves.", min=1)] = 32,
    rollouts: Annotated[int, typer.Option(help="Rollouts to make, where no --log is given.", min=1)] = 64,
    per_prompt: Annotated[int, typer.Option(help="Rollouts of one prompt.", min=1)] = 4,
    seed: Annotated[int, typer.Option(help="Of rollouts, units and continuations.", min=0)] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be spent; make and ask nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Audit credit on your own task: continuations at restored prefixes against what each method said there."""
    from ..audit.credit import chosen
    from ..audit.design import check
    from ..errors import OptionError

    ids = listed(methods)
    units = check(budget, per_unit)
    own = ".py" in env
    who = chosen(ids, truth=not own and not env.startswith("textworld"))
    if not own and (policy or log):
        raise OptionError(f"--policy and --log are for an --env of your own (FILE.py:NAME); {env} has a policy and rollouts")
    asking = [one.id for one in who if one.ask == "sampler"]
    more = f"; {', '.join(asking)} ask{'s' if len(asking) == 1 else ''} the sampler too, on top of that" if asking else ""
    whose = "the log" if log else f"{rollouts:,} rollouts"
    plan = f"{budget:,} continuations: up to {units:,} units of {whose}, {per_unit} each{more}"
    if dry_run:
        made = {"budget": budget, "units": units, "per_unit": per_unit, "rollouts": None if log else rollouts, "also_ask": asking}
        typer.echo(_json.dumps(made, indent=1) if as_json else f"would spend {plan}")
        return
    subject = _subject(env, policy, log, rollouts, per_prompt, seed, reading)
    typer.echo(f"spending {plan}", err=True)
    from ..audit.run import audit as run
    from .audit_show import data, text

    try:
        with progress("continuations") as watch:
            report = run(subject, ids, budget=budget, per_unit=per_unit, seed=seed, watch=watch)
    except KeyboardInterrupt:
        typer.echo("stopped: an audit keeps nothing", err=True)
        raise typer.Exit(130) from None
    typer.echo(_json.dumps(data(report), indent=1) if as_json else text(report))
    if any(line.refused for line in report.lines):
        raise typer.Exit(1)


def _subject(
    env: str, policy: str | None, log: Path | None, rollouts: int, group: int, seed: int, reading: dict[str, Any]
) -> Subject:
    import numpy as np

    from ..audit import environment, subjects
    from ..errors import OptionError

    if ".py" not in env:
        if env.partition("/")[0] == "textworld":
            return subjects.of_world(env, rollouts, group, seed)
        return subjects.of_task(env, rollouts, group, np.random.default_rng([seed, 10]))
    value = subjects.load(env, "--env")
    world = subjects.environment_of(value)
    name = f"{Path(env.rpartition(':')[0]).name}:{env.rpartition(':')[2]}"
    if world is None:
        if not callable(value):
            raise OptionError(f"--env {env} is {type(value).__name__}: expected reset and step, or a function (batch) -> sampler")
        if policy:
            raise OptionError(f"--env {env} takes a batch and gives a sampler, which has the policy in it: leave --policy out")
        if log is None:
            raise OptionError(f"--env {env} takes a batch: give its rollouts with --log")
        return subjects.of_sampler(name, opened(log, reading).batch(), value)
    if policy is None:
        raise OptionError(f"--env {env} is an environment: give --policy FILE.py:NAME, a function (history, rng) -> action text")
    act = subjects.load(policy, "--policy")
    if not callable(act):
        raise OptionError(f"--policy {policy} is {type(act).__name__}: expected a function (history, rng) -> action text")
    if log is not None:
        if reading:
            raise OptionError(f"--{next(iter(reading)).replace('_', '-')} is for a log; an environment's --log holds episodes")
        episodes = environment.read_episodes(log)
    else:
        with progress("rollouts") as watch:
            episodes = environment.rollouts(world, act, rollouts, group, np.random.default_rng([seed, 10]), watch)
    return subjects.of_environment(name, world, act, episodes)
