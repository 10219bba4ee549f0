"""A real language model's answers, and who earned their reward, by methods that ask the model itself, its sampler and a judge.

    make demo-lm

SmolLM2 (135 M parameters, on the CPU) answers a few sums, four times each; GRPO and six methods that ask for more credit
every step of what it wrote; ``lm.html`` shows the steps coloured by credit. Any other causal model: --model NAME (a hub
name, a folder, a .gguf file).
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import apportion as ap
from apportion.cli.progress import progress
from apportion.evidence import Bill
from apportion.evidence.huggingface import HFJudge, HFPolicy, HFSampler, Prefix, load
from apportion.report.lens import lens_data, write_page

#: Question -> the number that is right. Hard enough for a model of this size that some answers fail.
SUMS = {
    "What is 6 + 7? Think in short steps, then give the number.": "13",
    "Tom has 9 apples and eats 4. How many are left?": "5",
    "What is 3 times 5? Think in short steps, then give the number.": "15",
}
ANSWERS, TOKENS, K, TEMPERATURE = 4, 40, 2, 0.8


def right(answer: str, number: str) -> float:
    """1 where the last number of the answer is the right one."""
    named = re.findall(r"\d+", answer.replace(",", ""))
    return float(bool(named) and named[-1] == number)


def steps_of(pieces: list[str]) -> list[int]:
    """Tokens in each step: a step ends with its line or sentence (a dot before a digit ends none)."""
    ends = {i + 1 for i in range(len(pieces)) if _closes(pieces, i)}
    return np.diff([0, *sorted(ends | {len(pieces)})]).tolist()


def _closes(pieces: list[str], i: int) -> bool:
    after = "".join(pieces[i + 1 : i + 2])
    if "\n" in pieces[i]:
        return "\n" not in after
    return pieces[i].strip()[-1:] in (".", "!", "?") and (not after or after[0].isspace()) and "\n" not in after


def rollouts(model: Any, tokenizer: Any, watch: Callable[[int, int], None], rng: np.random.Generator) -> ap.Batch:
    """Four answers to each sum: one turn each, in steps, with the model's own log-probabilities and entropies."""
    columns: dict[str, list[Any]] = {
        n: [] for n in ("lengths", "steps", "ids", "action", "text", "group", "outcome", "truncated")
    }
    for done, (question, number) in enumerate(SUMS.items(), 1):
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
        )
        asked = list(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        made, ended = Prefix(model, asked).generate(
            [len(asked)] * ANSWERS, max_new_tokens=TOKENS, stop=stops(model), rng=rng, temperature=TEMPERATURE
        )
        for wrote, end in zip(made, ended, strict=True):
            sizes = steps_of([tokenizer.decode([t]) for t in (wrote[:-1] if end else wrote)] or [""])
            sizes[-1] += len(wrote) - sum(sizes)  # the token that ends the answer
            text = tokenizer.decode(wrote, skip_special_tokens=True)
            columns["lengths"].append([len(asked) + len(wrote)])
            columns["steps"].append([len(asked) + sizes[0], *sizes[1:]])
            columns["ids"] += asked + wrote
            columns["action"] += [False] * len(asked) + [True] * len(wrote)
            columns["text"].append(f"user: {question}\nassistant: {text}")
            columns["group"].append(question)
            columns["outcome"].append(right(text, number))
            columns["truncated"].append(not end)
        watch(done, len(SUMS))
    ids, action, lengths = np.asarray(columns.pop("ids")), np.asarray(columns.pop("action")), columns.pop("lengths")
    return ap.Batch.from_turns(lengths, ids=ids, action=action, limit=TOKENS, success=columns["outcome"], **columns)


def stops(model: Any) -> list[int]:
    end = model.generation_config.eos_token_id
    return list(end) if isinstance(end, list) else [end]


def credited(batch: ap.Batch, model: Any, tokenizer: Any) -> dict[str, Any]:
    """Method -> (what it asks, seconds, credit); one that fails stops the demo."""
    assert batch.group is not None
    questions = [str(batch.group.name(i)) for i in range(batch.n_trajectories)]
    numbers = [SUMS[question] for question in questions]
    starts = batch.offsets("trajectory")

    def reward(i: int, ids: Any, ended: bool) -> float:
        prompt = int((~batch.action[starts[i] : starts[i + 1]]).sum())
        return right(tokenizer.decode(list(ids)[prompt:], skip_special_tokens=True), numbers[i])

    found: dict[str, Any] = {}
    with progress("credit") as watch:
        policy = HFPolicy(model, tokenizer, answers=numbers, watch=watch)
        sampler = HFSampler(model, reward, TOKENS, temperature=TEMPERATURE, watch=watch)
        judge = HFJudge(model, tokenizer, questions=questions, watch=watch)
        plan: dict[str, tuple[str, dict[str, Any]]] = {
            "grpo": ("nobody", {}),
            "aem": ("entropies", {}),
            "t_reg": ("policy: opposed prompts", {"policy": policy, "form": "advantage"}),
            "acpo": ("policy: the right answer", {"policy": policy}),
            "spo": ("sampler: unsure tokens", {"sampler": sampler, "k": K, "interval": 10}),
            "vineppo": ("sampler: every step", {"sampler": sampler, "k": K}),
            "pure": ("judge: after each step", {"judge": judge}),
        }
        for method, (who, given) in plan.items():
            begin = time.perf_counter()
            credit = ap.assign(batch, method, rng=0, **given)
            found[method] = (who, time.perf_counter() - begin, credit)
    return found


def page(batch: ap.Batch, credits: dict[str, ap.Credit], tokenizer: Any, out: Path, notes: list[str]) -> None:
    """The lens, its steps with their words."""
    data = lens_data(batch, credits, unit="step")
    ids, offsets = batch.need("ids"), batch.offsets("step")
    words = [tokenizer.decode(ids[a:b].tolist(), skip_special_tokens=True) for a, b in pairwise(offsets.tolist())]
    owner = batch.within("step", "trajectory")
    texts = {str(batch.trajectory.name(i)): [words[u] for u in np.flatnonzero(owner == i)] for i in range(batch.n_trajectories)}
    for task in data["tasks"]:
        for shown in task["trajectories"]:
            shown["turns"] = [{**t, "text": text} for t, text in zip(shown["turns"], texts[shown["id"]], strict=True)]
    write_page(data, out, left_out=0, title="Where the credit of a language model's answers went", notes=notes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--model", default="smollm2", help="a hub name, a folder, a .gguf file or smollm2")
    parser.add_argument("--out", type=Path, default=Path("lm.html"))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    console, rng = Console(), np.random.default_rng(given.seed)
    console.print(f"loading {given.model} …", highlight=False)
    from transformers.utils import logging

    logging.set_verbosity_error()
    model, tokenizer = load(given.model)
    with progress("answers") as watch:
        batch = rollouts(model, tokenizer, watch, rng)
    batch, spent = HFPolicy(model, tokenizer).columns(batch)
    rate = float(np.mean(batch.reward))
    summary = (
        f"{given.model}: {batch.n_trajectories} answers to {len(SUMS)} sums at temperature {TEMPERATURE}, at most "
        f"{TOKENS} tokens; {rate:.0%} right; {batch.count('step')} steps"
    )
    console.print(summary, highlight=False)
    found = credited(batch, model, tokenizer)
    table = Table("method", "asks", "written", "read", "judged", "s", title="What each method asked for, in tokens and calls")
    for method, (who, seconds, credit) in found.items():
        bill = credit.bill + (spent if method in ("aem", "spo") else Bill())  # these read the batch's log-probs or entropies
        table.add_row(method, who, *(f"{x:,.0f}" for x in (bill.generated, bill.scored, bill.judge_calls)), f"{seconds:.0f}")
    console.print(table)
    page(batch, {m: credit for m, (_, _, credit) in found.items()}, tokenizer, given.out, [summary + "."])
    console.print(f"wrote {given.out}", highlight=False)


if __name__ == "__main__":
    main()
