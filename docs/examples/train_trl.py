"""GRPO with credit by any method that TRL can feed: a pretrained model, and problems whose answers are checked.

    python docs/examples/train_trl.py --model Qwen/Qwen2.5-1.5B-Instruct --method tempo --out runs/qwen

One process, on one GPU (bf16) or a CPU. Killed, it goes on where it was when it is started again. See docs/trl.md.
"""

import json
import os
import resource
import sys
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from train_trl_setup import Settings, begin, check, named, problems, score, tokenizing  # stands beside this file

from apportion.bench.statistics import student_quantile, wilson
from apportion.cli.progress import progress
from apportion.edges.atomic import atomic
from apportion.errors import ApportionError
from apportion.evidence import load_learned
from apportion.evidence.huggingface import load
from apportion.integrations.trl import TESTED, check_carry, check_method
from apportion.integrations.versions import check_version
from apportion.registry import get


def train(s: Settings) -> dict[str, Any]:
    """Check everything, load the model, train or go on, measure; the measured table."""
    s = replace(s)
    check(s)
    check_version("trl", TESTED, "train_trl")
    out, begun = Path(s.out), time.perf_counter()
    os.environ |= {"TENSORBOARD_LOGGING_DIR": str(out / "tensorboard"), "TRACKIO_DIR": str(out.resolve() / "trackio")}
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # with several in sight the trainer would split batches among them
    import torch
    from datasets import Dataset
    from transformers import set_seed

    from apportion.integrations.trl import CreditGRPOTrainer  # refuses other versions of TRL

    cuda = torch.cuda.is_available()
    bf16 = s.dtype == "bf16" or (s.dtype == "auto" and cuda and torch.cuda.is_bf16_supported())
    s.dtype = "bf16" if bf16 else "fp32"
    given = named(s.method_option, "method_option")
    if isinstance(given.get("learned"), str):
        given["learned"] = load_learned(given["learned"])
    config = configured(s, cuda)
    check_method(s.method, given, config, states=False)
    if s.carry:
        check_carry(get(s.method), given)
    task, held, rows = problems(s)
    tokenizer = tokenizing(s, [row["prompt"] for row in (*held, *rows)])
    checkpoint = begin(s)

    set_seed(s.seed)
    weights = torch.bfloat16 if bf16 and s.lora_rank else torch.float32  # whole models keep fp32 weights, under autocast
    model, _ = load(s.model, dtype=weights)

    def reward(completions: Any, row: list[int], **_: Any) -> list[float]:
        return [score(task, i, said[-1]["content"]) for i, said in zip(row, completions, strict=True)]

    trainer = CreditGRPOTrainer(
        model, reward, args=config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
        peft_config=adapters(s.lora_rank), credit=s.method, credit_options=given, carry=s.carry,
    )  # fmt: skip
    before = out / "before.json"
    if not before.exists():
        write(before, tried(trainer, tokenizer, task, held, s))
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.save_model(str(out / "model"))
    scores = json.loads(before.read_text()), tried(trainer, tokenizer, task, held, s)
    log = [row for row in trainer.state.log_history if "step_time" in row]
    table = summary(s, *scores) | {
        "steps": trainer.state.global_step,
        "tokens": int(trainer.state.num_input_tokens_seen),
        "completion_tokens": round(sum(row["completions/mean_length"] for row in log[:: s.iterations]) * s.batch),
        "step_seconds": sum(row["step_time"] for row in log),
        "seconds_of_this_start": time.perf_counter() - begun,
        "peak_memory_gib": (torch.cuda.max_memory_allocated() if cuda else 1024 * peak_kib()) / 2**30,
        "device": torch.cuda.get_device_name() if cuda else f"{len(os.sched_getaffinity(0))} CPU cores",
        "trained_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "versions": {name: version(name) for name in ("apportion", "trl", "transformers", "torch")},
    }
    write(out / "summary.json", table)
    return table


def configured(s: Settings, cuda: bool) -> Any:
    from trl import GRPOConfig

    return GRPOConfig(
        s.out, seed=s.seed, max_steps=s.steps, learning_rate=s.lr, lr_scheduler_type="constant", beta=s.beta, loss_type=s.loss,
        num_generations=s.group, per_device_train_batch_size=s.micro_batch, num_iterations=s.iterations,
        gradient_accumulation_steps=s.batch // s.micro_batch, max_completion_length=s.max_completion, bf16=s.dtype == "bf16",
        use_cpu=not cuda, dataloader_pin_memory=cuda, gradient_checkpointing=cuda, shuffle_dataset=False,
        save_steps=s.save_every, save_total_limit=2, logging_steps=1, report_to=s.log or "none",
        project="apportion", run_name=Path(s.out).name, trackio_static_space_id=False,
    )  # fmt: skip


def adapters(rank: int) -> Any:
    if not rank:
        return None
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def tried(trainer: Any, tokenizer: Any, task: Any, held: list[dict[str, Any]], s: Settings) -> list[float]:
    """An answer to each held-out problem, drawn as in training, scored; the random numbers of training are left as they were."""
    import torch

    model, found = trainer.accelerator.unwrap_model(trainer.model), []
    model.eval()
    with torch.random.fork_rng(), torch.no_grad(), trainer.accelerator.autocast(), progress("held-out problems") as watch:
        torch.manual_seed(s.seed)
        for start in range(0, len(held), s.micro_batch):
            part = held[start : start + s.micro_batch]
            chats = [row["prompt"] for row in part]
            shown = tokenizer.apply_chat_template(chats, add_generation_prompt=True, padding=True, return_tensors="pt")
            shown = shown.to(model.device)
            said = model.generate(**shown, generation_config=trainer.generation_config)
            texts = tokenizer.batch_decode(said[:, shown["input_ids"].shape[1] :], skip_special_tokens=True)
            found += [score(task, row["row"], text) for row, text in zip(part, texts, strict=True)]
            watch(len(found), len(held))
    return found


def summary(s: Settings, before: list[float], after: list[float]) -> dict[str, Any]:
    """Mean scores with score intervals, and the change over the same problems with Student's; 95 %."""
    n, change = len(before), [b - a for a, b in zip(before, after, strict=True)]
    mean = sum(change) / n
    half = student_quantile(n - 1) * (sum((c - mean) ** 2 for c in change) / (n - 1) / n) ** 0.5
    pair = [mean - half, mean + half] if half else None  # nothing changed, or all alike: no interval is known
    rows = {"before": wilson(sum(before), n), "after": wilson(sum(after), n)}
    found = {name: {"mean": row[0], "interval": list(row[1:])} for name, row in rows.items()}
    return {"settings": asdict(s), "held_out": n, **found, "change": {"mean": mean, "interval": pair}}


def printed(table: dict[str, Any]) -> str:
    """The table as text."""
    lines = [f"{table['settings']['method']} on {table['settings']['task']}, {table['held_out']} held-out problems"]
    for name in ("before", "after", "change"):
        mean, interval = table[name]["mean"], table[name]["interval"]
        lines.append(f"  {name:<24}{mean:+.3f}" + (f"  [{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else ""))
    for name in ("steps", "tokens", "completion_tokens", "step_seconds", "peak_memory_gib", "trained_parameters", "device"):
        value = table[name]
        lines.append(f"  {name.replace('_', ' '):<24}" + (f"{value:,.1f}" if isinstance(value, float) else f"{value}"))
    return "\n".join(lines)


def write(path: Path, value: Any) -> None:
    with atomic(path) as file:
        file.write(json.dumps(value, indent=1).encode())


def peak_kib() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used // 1024 if sys.platform == "darwin" else used


if __name__ == "__main__":
    from transformers import HfArgumentParser

    parser = HfArgumentParser(Settings)
    settings, stray = parser.parse_args_into_dataclasses(return_remaining_strings=True)
    if stray:
        parser.error(f"no such option: {' '.join(stray)}")
    try:
        print(printed(train(settings)))
    except ApportionError as error:
        sys.exit(f"train_trl: {error}")
