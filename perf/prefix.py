"""python -m perf.prefix [--json FILE]: many continuations of one text, the text read once, against reading every prefix again.

16 cuts of one text, 8 continuations after each, equally many new tokens for everybody, drawn in the same way. Contestants:
``model.generate`` once per cut with 8 return sequences, ``model.generate`` once with all 128 rows padded on the left, and
:class:`apportion.evidence.huggingface.Prefix`. They take turns, and what
counts is processor time, which other work on the machine changes little; exit 1 where the promise is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apportion.evidence.huggingface import Prefix, load

from .clock import Spread, ratio

PROMISED = 3.0
QUESTION = "How does a bicycle stay upright?"
ANSWER = (
    "A bicycle stays upright because it is steered, by its rider or by itself, under the place to which it begins to fall. "
    "When it leans to the left, the front wheel turns to the left, the wheels move under the centre of mass, and the lean "
    "is undone. The trail of the front wheel, its weight and the spin of the wheels all help to turn it the right way, and "
    "none of them alone is needed: bicycles have been built without each. Below a walking pace the wheel has to be turned "
    "far and often, which is why a slow rider wobbles, while at speed a touch is enough. "
)


@dataclass(frozen=True)
class Race:
    """Processor and wall seconds of every contestant in every round; how many times our processor time each other took."""

    model: str
    length: int
    cuts: int
    k: int
    new_tokens: int
    threads: int
    seconds: dict[str, list[float]]
    wall: dict[str, list[float]]
    ratios: dict[str, Spread]

    @property
    def kept(self) -> bool:
        return self.ratios["each cut"].median >= PROMISED


def text_of(tokenizer: Any, length: int) -> list[int]:
    """A chat of ``length`` tokens, its answer repeated as often as it takes."""
    asked = tokenizer.apply_chat_template([{"role": "user", "content": QUESTION}], add_generation_prompt=True, tokenize=False)
    ids = list(tokenizer(asked, add_special_tokens=False)["input_ids"])
    answer = list(tokenizer(ANSWER, add_special_tokens=False)["input_ids"])
    while len(ids) < length:
        ids += answer
    return ids[:length]


def contestants(model: Any, text: list[int], cuts: list[int], k: int, n: int) -> dict[str, Callable[[], int]]:
    """Name -> a function that writes n tokens after each cut k times, and says how many rows it wrote."""
    import torch

    drawn = {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": 1.0, "max_new_tokens": n, "min_new_tokens": n}

    def each() -> int:
        rows = 0
        for cut in cuts:
            ids = torch.tensor([text[:cut]])
            rows += len(model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), num_return_sequences=k, **drawn))
        return rows

    def padded() -> int:
        width = max(cuts)
        ids = torch.tensor([[0] * (width - cut) + text[:cut] for cut in cuts for _ in range(k)])
        mask = torch.tensor([[0] * (width - cut) + [1] * cut for cut in cuts for _ in range(k)])
        return len(model.generate(input_ids=ids, attention_mask=mask, **drawn))

    def once() -> int:
        made, _ = Prefix(model, text).generate(
            np.repeat(cuts, k).tolist(), max_new_tokens=n, stop=[], rng=np.random.default_rng(0)
        )  # fmt: skip
        return sum(len(row) == n for row in made)

    return {"each cut": each, "one padded batch": padded, "read once": once}


def race(
    name: str | tuple[Any, Any] = "smollm2", *, length: int = 256, cuts: int = 16, k: int = 8, new_tokens: int = 16,
    rounds: int = 3, only: tuple[str, ...] = (), tell: Callable[[str], None] = lambda what: None,
) -> Race:  # fmt: skip
    """All contestants in turns, after one short call of each. name: or (model, tokenizer). only: leave out the others."""
    import torch

    tell("loading the model")
    model, tokenizer = load(name) if isinstance(name, str) else name
    text = text_of(tokenizer, length)
    at = np.linspace(length // cuts, length, cuts).astype(int).tolist()
    for call in contestants(model, text, at[:1], 2, 2).values():
        call()
    calls = {n: c for n, c in contestants(model, text, at, k, new_tokens).items() if not only or n in only}
    taken: dict[str, list[float]] = {n: [] for n in calls}
    wall: dict[str, list[float]] = {n: [] for n in calls}
    for round_ in range(rounds):
        for contestant, call in calls.items():
            tell(f"round {round_ + 1} of {rounds}: {contestant}")
            begin = time.process_time(), time.perf_counter()
            if (rows := call()) != cuts * k:
                raise SystemExit(f"{contestant} wrote {rows} rows, expected {cuts * k}: nothing is compared")
            taken[contestant].append(time.process_time() - begin[0])
            wall[contestant].append(time.perf_counter() - begin[1])
    ratios = {n: ratio(s, taken["read once"]) for n, s in taken.items() if n != "read once"}
    return Race(
        name if isinstance(name, str) else model.name_or_path,
        length,
        cuts,
        k,
        new_tokens,
        torch.get_num_threads(),
        taken,
        wall,
        ratios,
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m perf.prefix", description=__doc__)
    parser.add_argument("--model", default="smollm2", help="a hub name, a folder, a .gguf file or smollm2")
    parser.add_argument("--length", type=int, default=256, help="tokens of the text")
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    tell: Callable[[str], None] = lambda what: print(f"{what} …", file=sys.stderr, flush=True)  # noqa: E731
    found = race(given.model, length=given.length, new_tokens=given.new_tokens, rounds=given.rounds, tell=tell)
    load_now = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(
        f"{found.model}: {found.cuts} cuts of {found.length} tokens, {found.k} continuations of {found.new_tokens} tokens after "
        f"each; {found.threads} threads on {os.cpu_count()} cores, load {load_now:.1f}"
    )
    for name, seconds in found.seconds.items():
        s, r = Spread.of(seconds), found.ratios.get(name)
        times = "" if r is None else f"   {r.median:5.1f} x as long ({r.low:.1f}-{r.high:.1f})"
        print(f"  {name:<17} {s.median:7.1f} s of processor, {Spread.of(found.wall[name]).median:.1f} s by the clock{times}")
    print(f"promised: at least {PROMISED:g} x against each cut by itself: {'kept' if found.kept else 'broken'}")
    if given.json:
        given.json.write_text(json.dumps({**asdict(found), "promised": PROMISED}, indent=2) + "\n", encoding="utf-8")
    return 0 if found.kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
