"""The tables of docs/trl.md, made from the methods and the losses themselves."""

from __future__ import annotations

import pathlib
import sys

from ...feeds import Feed
from ...registry import Method, methods
from .start import LOSSES, REFUSED, TESTED, dishonoured, feeding, ways_to_feed


def methods_table() -> str:
    """Which methods TRL can feed, what that takes, and why not the others."""
    lines = ["| method | credits each | in TRL | what it takes |", "|---|---|---|---|"]
    for spec in methods().values():
        fed, how = _how(spec, feeding(spec.id, {}))
        lines.append(f"| `{spec.id}` | {spec.unit} | {fed} | {how} |")
    return "\n".join(lines)


def losses_table() -> str:
    """What each loss of TRL does with one advantage per token."""
    lines = ["| loss | in TRL | averages over (our word) | notes |", "|---|---|---|---|"]
    for name, loss in LOSSES.items():
        if loss.detached:
            note = "the ratio is a constant factor: credit stays at its token whatever it is taken over"
        else:
            note = '`importance_sampling_level="sequence"` only for methods that credit whole trajectories; refused for others'
        lines.append(f'| `loss_type="{name}"` | works | {_OVER[loss.denominator]} (`{loss.denominator}`) | {note} |')
    lines += [f"| `{name}` | refused | | {why} |" for name, why in REFUSED.items()]
    return "\n".join(lines)


def page(text: str) -> str:
    """``text`` with what stands between each pair of table marks replaced by the table of that name."""
    tables = {"methods": methods_table(), "losses": losses_table(), "versions": f"trl >= {TESTED[0]}, < {TESTED[1]}"}
    for name, table in tables.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        text = f"{before}{start}{table}\n{end}{rest.split(end)[1]}"
    return text


_OVER = {
    "sequence": "the tokens of a completion, then completions",
    "token": "all tokens",
    "limit": "`max_completion_length`, then completions",
    "trajectory": "completions, each the sum of its tokens",
}


def _how(spec: Method, lacks: Feed) -> tuple[str, str]:
    if lacks.columns:
        return "no", f"TRL has no {' and no '.join(f'`{n}`' for n in lacks.columns)}"
    if why := dishonoured(spec):
        return "no", why
    needs = [_NEEDS[name] for name in ("state", "logp", "ref_logp") if name in spec.reads]
    if lacks.evidence:
        ways = [f"`credit_options={way}`" for way in ways_to_feed(lacks)]
        if not ways:
            return "no", lacks.why_not
        needs.append(" or ".join(ways))
    if spec.grows:
        needs.append(f"nothing, without a {spec.source}; with one it grows rollouts, for which TRL's batch has no room: refused")
    return "yes", "; ".join(needs) or "nothing more"


_NEEDS = {
    "state": "states",
    "logp": "log-probs (`use_vllm`, `rollout_func`, or generation batches that are used more than once)",
    "ref_logp": "log-probs of the reference (`beta` above 0)",
}


def main(path: str) -> None:
    """Rewrite the tables of the page at ``path``: ``python -m apportion.integrations.trl.page docs/trl.md``."""
    file = pathlib.Path(path)
    file.write_text(page(file.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
