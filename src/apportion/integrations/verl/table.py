"""Which methods verl can feed, and why not the others, as the table of docs/verl.md.

``python -m apportion.integrations.verl.table docs/verl.md`` rewrites it.
"""

from __future__ import annotations

import pathlib
import sys

from ...credit import Credit
from ...errors import OptionError
from ...feeds import feed
from ...registry import Method, methods
from .. import honours
from .estimator import ALONE, WAYS
from .start import brings

_HEAD = "| method | estimator alone | with `trainer_mode=apportion` |\n|---|---|---|"

#: What a page and a line to type say of a method that grows rollouts, and of one that takes tokens out of the loss.
GROWN = f"{WAYS['node']}, else only first turns are trained"
LEFT_OUT = "`loss_agg_mode=token-mean` or `token-sum`, where tokens can leave the denominator"

#: A trainer mode whose settings suit every method.
SUITED = honours.Honours("verl", frozenset({"token", "sequence"}), keep=True, denominator=None)


def markdown() -> str:
    """The table, one line per method."""
    lines = (f"| `{spec.id}` | {alone(spec)} | {in_mode(spec)} |" for spec in methods().values())
    return "\n".join([_HEAD, *lines]) + "\n"


def alone(spec: Method) -> str:
    """What becomes of a method given rewards, mask and uid only."""
    lacks = feed(spec.id, ("reward", "group"))
    if not lacks.ready:
        return f"no: {_names((*lacks.columns, *lacks.evidence))} not passed"
    return _refused(spec, ALONE) or "yes"


def in_mode(spec: Method) -> str:
    """What becomes of a method in a trainer mode, and what it takes."""
    lacks = feed(spec.id, brings())
    if lacks.columns:
        return f"no: verl has no {_names(lacks.columns, verb=False)}"
    if not lacks.ready and not lacks.can_fit:
        asked = f" to ask for {_names(lacks.evidence, verb=False)}"
        return f"no: verl's trainers have no {lacks.source}{asked}" if lacks.source else f"no: nothing brings{asked[11:]}"
    if refused := _refused(spec, SUITED):
        return refused
    notes = [WAYS[name] for name in sorted(spec.reads - {"group"}) if name in WAYS]
    wanted = spec.wanted()
    ways = [WAYS[name] for name in sorted(set(wanted) - set(lacks.evidence)) if name in WAYS]
    ways += ["`+algorithm.apportion.fit=true`"] if spec.fit and wanted else []
    notes += [" or ".join(ways)] if ways else []
    if "node" in spec.may_read and spec.grows:
        notes.append(GROWN)
    result = honours.smallest(spec, {})
    if isinstance(result, Credit) and result.keep is not None:
        notes.append(LEFT_OUT)
    return f"yes: {'; '.join(notes)}" if notes else "yes"


def _refused(spec: Method, trainer: honours.Honours) -> str:
    try:
        honours.check(honours.smallest(spec, {}), trainer)
    except OptionError as error:
        return f"no: {str(error).split(': ', 1)[1]}"
    return ""


def _names(names: tuple[str, ...], verb: bool = True) -> str:
    joined = " and ".join(f"`{n}`" for n in names)
    return f"{joined} {'is' if len(names) == 1 else 'are'}" if verb else joined


def main(path: str) -> None:
    """Rewrite the table of the page at ``path``: ``python -m apportion.integrations.verl.table docs/verl.md``."""
    file = pathlib.Path(path)
    text = file.read_text(encoding="utf-8")
    before, rest = text.split(_HEAD)
    after = rest.lstrip("\n").split("\n\n", 1)[1]
    file.write_text(f"{before}{markdown()}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
