"""docs/examples/train_trl.py: checks before anything is loaded, training, going on after a kill, adapters, logs."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sqlite3
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
pytest.importorskip("peft")
pytest.importorskip("reasoning_gym")

from apportion.errors import ApportionError, TrainerError  # noqa: E402
from apportion.integrations import versions  # noqa: E402

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
pytestmark = pytest.mark.filterwarnings("ignore")

#: Four steps of two prompts; a method that learns, carries it on and draws random numbers.
SMALL = {
    "task": "letter_counting", "steps": 4, "batch": 16, "group": 8, "max_completion": 12, "lr": 1e-2, "held_out": 4,
    "save_every": 1,
}  # fmt: skip
CARRIED = SMALL | {"method": "agentprm", "method_option": ["fit=true"], "carry": True}


@pytest.fixture(scope="module", autouse=True)
def _environment() -> Iterator[None]:
    """The script says by variables where logs go; what stood there comes back."""
    before = dict(os.environ)
    os.environ["HF_HUB_OFFLINE"] = "1"
    sys.path.insert(0, str(EXAMPLES))
    yield
    sys.path.remove(str(EXAMPLES))
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random Llama that reads and writes letters, digits and a few signs, one a token."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import Fuse
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = str(tmp_path_factory.mktemp("tiny"))
    signs = sorted(set(string.digits + string.ascii_letters + " \n.,:'\"+-=?!()"))
    raw = Tokenizer(WordLevel({w: i for i, w in enumerate(["<pad>", "<end>", "<unk>", *signs])}, unk_token="<unk>"))
    raw.pre_tokenizer, raw.decoder = Split(Regex(r"[\s\S]"), "isolated"), Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<end>", unk_token="<unk>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    size = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    ids = {"vocab_size": len(raw.get_vocab()), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    LlamaForCausalLM(LlamaConfig(max_position_embeddings=512, **size, **ids)).save_pretrained(folder)
    return folder


def train(**given: Any) -> Any:
    script: Any = importlib.import_module("train_trl")
    return script.train(script.Settings(**given))


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(folder / "model.safetensors")
    return found


#: Dies, as by kill -9, when the third checkpoint lacks nothing but its mark; nothing may leave this machine.
KILLED = """
import os, runpy, signal, socket, sys
from apportion.integrations.trl import resume

whole, connect = resume.write, socket.socket.connect
def dying(folder, *rest):
    if folder.name == "checkpoint-3":
        os.kill(os.getpid(), signal.SIGKILL)
    whole(folder, *rest)
def local(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "localhost", "::1"):
        open(os.environ["LEFT"], "a").write(repr(address))
        raise OSError("no network here")
    return connect(self, address)
resume.write, socket.socket.connect = dying, local
sys.path.insert(0, os.path.dirname(os.environ["SCRIPT"]))
runpy.run_path(os.environ["SCRIPT"], run_name="__main__")
"""


def test_a_killed_run_goes_on_and_ends_where_it_would_have_ended_and_logs_credit(tmp_path: Path, tiny: str) -> None:
    options = [f"--{name}={value}" for name, value in (SMALL | {"model": tiny, "out": str(tmp_path / "cut")}).items()]
    left = tmp_path / "left"
    chosen = ["--method=agentprm", "--method_option", "fit=true", "--carry", "--log", "tensorboard", "trackio"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *options, *chosen],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "SCRIPT": str(EXAMPLES / "train_trl.py"), "LEFT": str(left)},
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert not left.exists()
    assert (tmp_path / "cut" / "checkpoint-3" / "trainer_state.json").exists()
    assert not (tmp_path / "cut" / "summary.json").exists()
    _logged(tmp_path / "cut")

    (tmp_path / "cut" / "checkpoint-3" / "optimizer.pt").write_bytes(b"cut short")
    on = train(model=tiny, out=str(tmp_path / "cut"), **CARRIED)
    assert on["steps"] == 4
    whole = train(model=tiny, out=str(tmp_path / "whole"), **CARRIED)
    mine, theirs = weights(tmp_path / "cut" / "model"), weights(tmp_path / "whole" / "model")
    start = weights(Path(tiny))
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=0, atol=1e-6)
    assert max(float((theirs[name] - start[name]).abs().max()) for name in theirs) > 1e-3
    for name in ("before", "after", "change", "tokens", "completion_tokens"):
        assert on[name] == whole[name], name
    assert on["completion_tokens"] < on["tokens"]
    assert json.loads((tmp_path / "cut" / "summary.json").read_text()) == on

    again = train(model=tiny, out=str(tmp_path / "cut"), **CARRIED)  # all steps are made: it only measures
    assert again["after"] == on["after"]


def _logged(out: Path) -> None:
    """TensorBoard's events and trackio's table hold the scalars of credit, its bill among them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    wanted = {f"train/credit/{name}" for name in ("zero", "mean_abs", "groups_without_signal", "cost/scored", "cost/trained")}
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    assert wanted <= set(events.Tags()["scalars"])
    assert [e.step for e in events.Scalars("train/credit/cost/trained")] == [1, 2, 3]
    assert min(e.value for e in events.Scalars("train/credit/cost/trained")) > 0
    with sqlite3.connect(out / "trackio" / "apportion.db") as base:
        rows = [json.loads(text) for (text,) in base.execute("select metrics from metrics order by id")]
    assert wanted <= set().union(*rows)


def test_adapters_alone_are_trained_and_may_be_in_bf16(tmp_path: Path, tiny: str) -> None:
    table = train(model=tiny, out=str(tmp_path / "run"), **(SMALL | {"steps": 1, "lora_rank": 2, "dtype": "bf16"}))
    adapters = tmp_path / "run" / "model" / "adapter_model.safetensors"
    assert not (tmp_path / "run" / "model" / "model.safetensors").exists()
    from safetensors.torch import load_file

    found = load_file(adapters)
    assert all("lora_" in name for name in found)
    assert table["trained_parameters"] == sum(value.numel() for value in found.values())
    assert any(float(value.abs().max()) > 0 for name, value in found.items() if "lora_B" in name)
    assert table["settings"]["dtype"] == "bf16"
    mine = weights(Path(tiny))
    assert sum(value.numel() for value in mine.values()) > 2 * table["trained_parameters"]


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model may be loaded, and no folder of a run begun."""
    import transformers

    def refuse(*args: Any, **more: Any) -> Any:
        raise AssertionError("a model was loaded before all was checked")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", refuse)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"method": "gigpoo"}, "gigpoo"),
        ({"method": "gigpo"}, "TRL cannot feed gigpo"),
        ({"method": "turn_ppo", "method_option": ["fit=true"]}, "cannot honour turn_ppo"),
        ({"method": "vineppo"}, "TRL cannot feed vineppo: it has no"),
        ({"method": "istar", "method_option": ["fit=true"]}, "TRL cannot feed istar"),
        ({"method_option": ["omega=1"]}, "rloo has no option 'omega'"),
        ({"method_option": ["omega"]}, "--method_option omega: expected NAME=VALUE"),
        ({"carry": True}, "rloo learns from one batch at a time"),
        ({"loss": "mine"}, "loss_type = 'mine'"),
        ({"group": 1}, "--group 1: expected at least 2"),
        ({"group": 5}, "--batch 16 is no multiple of --group 5"),
        ({"micro_batch": 3}, "--batch 16 is no multiple of --micro_batch 3"),
        ({"iterations": 2}, "--save_every 1 is no multiple of --iterations 2"),
        ({"steps": 0}, "--steps 0: expected at least 1"),
        ({"dtype": "fp8"}, "--dtype fp8"),
        ({"log": ["wandb"]}, "--log wandb: expected tensorboard, trackio"),
        ({"task": "no_such_task"}, "--task no_such_task"),
        ({"task_option": ["min_words=0"]}, "--task letter_counting"),
        ({"task": "chain_sum", "task_option": ["max_terms=2", "max_digits=1"], "held_out": 200}, "too few problems"),
        ({"max_completion": 500}, "--max_completion 500: with a prompt of .* has room for 512"),
        ({"model": "no/such/model"}, "--model no/such/model: "),
        ({"model": "bare.gguf", "beta": 0.1}, "--beta 0.1: TRL cannot load a .gguf file a second time"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_the_model_is_loaded(
    tmp_path: Path, tiny: str, unloaded: None, changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(ApportionError, match=match) as caught:
        train(**({"model": tiny, "out": str(tmp_path / "run")} | SMALL | changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_head_on_a_language_model_is_refused_before_one_is_loaded_since_its_file_holds_none(
    tmp_path: Path, tiny: str, request: pytest.FixtureRequest
) -> None:
    import apportion as ap
    from apportion.evidence import save_learned
    from apportion.evidence.huggingface import fit_head, load

    batch = ap.Batch.from_turns([[2], [3], [4], [2]], ids=range(2, 13), outcome=[1.0, 0.0, 1.0, 0.0], group=[0, 0, 1, 1])
    head: Any = fit_head(load(tiny)[0], batch, "promise")
    save_learned(head, tmp_path / "head.npz")
    save_learned(ap.learn(batch.with_columns(limit=4), "agentprm", rng=0), tmp_path / "plain.npz")
    request.getfixturevalue("unloaded")
    how = SMALL | {"model": tiny, "out": str(tmp_path / "run"), "method": "agentprm"}
    with pytest.raises(ApportionError, match=r"learned: a head .* has no model yet, .*load_learned\(path\)\.on\(model\)"):
        train(**how, method_option=[f"learned={tmp_path / 'head.npz'}"])
    assert not (tmp_path / "run").exists()
    with pytest.raises(AssertionError, match="a model was loaded before"):  # what needs no model goes on to there
        train(**how, method_option=[f"learned={tmp_path / 'plain.npz'}"])


def test_a_tokenizer_that_cannot_write_chats_is_refused(tmp_path: Path, tiny: str, unloaded: None) -> None:
    import shutil

    shutil.copytree(tiny, tmp_path / "bare")
    (tmp_path / "bare" / "chat_template.jinja").unlink()
    with pytest.raises(ApportionError, match="its tokenizer has no chat template"):
        train(model=str(tmp_path / "bare"), out=str(tmp_path / "run"), **SMALL)


def test_another_trl_is_refused(tmp_path: Path, tiny: str, unloaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "version", lambda package: "1.99.0")
    with pytest.raises(TrainerError, match=r"train_trl was tested with trl .* not with 1\.99\.0"):
        train(model=tiny, out=str(tmp_path / "run"), **SMALL)


def test_a_folder_is_gone_on_from_only_with_the_settings_it_was_begun_with(tmp_path: Path, tiny: str, unloaded: None) -> None:
    setup: Any = importlib.import_module("train_trl_setup")
    s = setup.Settings(model=tiny, out=str(tmp_path / "run"), dtype="fp32", micro_batch=16, **SMALL)
    assert setup.begin(s) is None
    assert setup.begin(s) is None
    for changes, match in (
        ({"lr": 0.5}, "holds a run with lr = 0.01, not 0.5"),
        ({"resume": False}, "holds a run: choose a new folder"),
    ):
        with pytest.raises(ApportionError, match=match):
            train(**({"model": tiny, "out": str(tmp_path / "run")} | SMALL | changes))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(ApportionError, match="holds something else"):
        train(model=tiny, out=str(tmp_path / "other"), **SMALL)


def test_no_problem_that_is_trained_on_is_held_out() -> None:
    setup: Any = importlib.import_module("train_trl_setup")
    s = setup.Settings(
        model="", out="", task="chain_sum", task_option=["max_terms=2", "max_digits=1"], held_out=30, steps=10, batch=32, group=4
    )
    task, held, rows = setup.problems(s)
    text = [row["prompt"][0]["content"] for row in held]
    assert len(set(text)) == 30
    assert len(rows) == 80
    assert not set(text) & {row["prompt"][0]["content"] for row in rows}
    assert all(setup.score(task, row["row"], f"I think so. Answer: {task[row['row']]['answer']}") == 1.0 for row in rows)
    assert setup.score(task, rows[0]["row"], "Answer: none") == 0.0


def test_intervals_of_the_table_are_those_of_shares_and_of_paired_differences() -> None:
    script: Any = importlib.import_module("train_trl")
    table = script.summary(script.Settings("m", "o"), [0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0])
    assert table["before"]["mean"] == 0.5
    assert table["before"]["interval"] == pytest.approx([0.1500, 0.8500], abs=1e-4)
    assert table["change"]["mean"] == 0.25
    assert table["change"]["interval"] == pytest.approx([0.25 - 3.1824 * 0.25, 0.25 + 3.1824 * 0.25], abs=1e-3)
    assert script.summary(script.Settings("m", "o"), [0.0, 0.0], [0.0, 0.0])["change"]["interval"] is None
