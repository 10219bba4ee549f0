"""Chats with tool calls in, and the same chats out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

import numpy as np

from ..batch import Batch
from ..errors import BatchError
from ..structure import Int
from .plain import plain
from .render import END, header_of, observed, written
from .turns import from_turns, offsets_of
from .word_pieces import many_word_ids

Message = Mapping[str, Any]
Tokenizer = Callable[[str], Any]

ROLES = ("system", "developer", "user", "assistant", "tool")
_TRAJECTORY = {"outcome", "group", "episode", "agent", "trajectory", "truncated", "bootstrap", "success"}
_TURN = {"turn_reward", "node", "parent"}


def from_messages(
    conversations: Sequence[Any],
    *,
    tokenizer: Tokenizer | None = None,
    keep_messages: bool = True,
    state: Any = None,
    ignore: Iterable[str] = (),
    **columns: Any,
) -> Batch:
    """A batch from chats, one trajectory each.

    conversations: lists of OpenAI-style messages (role system, developer, user, assistant or tool;
    content a string, None or a list of parts; tool_calls), or dicts with ``messages`` and columns
    of that chat: outcome (or reward), group, episode, agent, trajectory, truncated, success,
    bootstrap, and per assistant message turn_reward, node, parent. Other keys are refused unless
    ``ignore`` names them. The same columns may be given as keywords, over all chats.

    A turn is one assistant message with the messages before it; what follows the last belongs to
    the last turn. Its policy tokens are the message's reasoning, content, tool calls and end mark;
    all else, the role headers too, is observation. An assistant message with ``weight`` 0 (as in
    OpenAI's fine-tuning files: an example in the prompt, context copied from elsewhere) is observation
    too and makes no turn. tokenizer: str -> token ids, without special
    tokens (default: words, whose concatenation is the text, with ids by a stable hash, so that the
    same word has the same id in every batch). The ids are those of this plain rendering, not of a
    model's chat template: to train on exact tokens use ``Batch.from_padded``.

    state: "observation" keys each turn by the user and tool messages that came just before it (null
    where none did), or a list of keys. keep_messages stores the chats in ``meta`` for
    :func:`to_messages`.
    """
    if not len(conversations):
        raise BatchError("conversations is empty: a batch needs at least one chat")
    if state is not None and isinstance(state, str) and state != "observation":
        raise BatchError(f"state = {state!r}: expected 'observation', a list of keys or None")
    skip = set(ignore)
    chats, given = [], []
    for i, conversation in enumerate(conversations):
        messages, more = _open(conversation, i, skip)
        _check(messages, i)
        chats.append(messages)
        given.append(more)
    texts, acts, sizes, places = [], [], [], []
    text, keys, turns_of = [], [], []
    for i, messages in enumerate(chats):
        turns = _turns(messages)
        turns_of.append(len(turns))
        for part in turns:
            bodies = [_body(messages[m]) for m in part]
            for m, (body, own) in zip(part, bodies, strict=True):
                texts += [header_of(messages[m]), body]
                acts += [False, own]
                places.append((i, m))
            sizes.append(2 * len(part))
            text.append(
                "\n".join(f"{messages[m]['role']}: {b.removesuffix(END)}" for m, (b, _) in zip(part, bodies, strict=True))
            )
        if state is not None and isinstance(state, str):
            keys += _keys(messages, turns)
    ids, count = many_word_ids(texts) if tokenizer is None else _encoded(tokenizer, texts, acts, places)
    tokens = np.add.reduceat(count, offsets_of(sizes)[:-1])
    lengths: Any = np.split(tokens, np.cumsum(turns_of)[:-1])
    columns = {**_gather(given, chats), **columns}
    meta = dict(columns.pop("meta", {}))
    meta["tokenizer"] = "words, ids by hash (apportion)" if tokenizer is None else _name(tokenizer)
    trajectory = columns.pop("trajectory", None)
    names = list(range(len(chats))) if trajectory is None else list(trajectory)
    if len(names) != len(chats):
        raise BatchError(f"trajectory has {len(names)} entries, but there are {len(chats)} conversations")
    if keep_messages:
        meta["messages"] = {_key(names[i]): deepcopy(list(chat)) for i, chat in enumerate(chats)}
    return from_turns(
        lengths,
        action=np.repeat(acts, count),
        trajectory=names,
        ids=ids,
        text=columns.pop("text", text),
        state=keys if isinstance(state, str) else state,
        meta=meta,
        **columns,
    )


def is_action(message: Message) -> bool:
    """Whether the policy wrote this message: an assistant's, unless ``weight`` 0 marks it as context."""
    return message.get("role") == "assistant" and message.get("weight", 1) != 0


def shown(messages: Sequence[Message]) -> list[str | None]:
    """What the policy was just shown before each turn and after the last: its user and tool messages, null where none."""
    return _keys(messages, _turns(messages))


def to_messages(batch: Batch) -> list[list[dict[str, Any]]]:
    """The chats a batch was made from, one per trajectory; copies made by ``take`` share theirs."""
    kept = batch.meta.get("messages")
    if kept is None:
        raise BatchError("the batch holds no chats: make it with Batch.from_messages(..., keep_messages=True)")
    chats = []
    for i in range(batch.n_trajectories):
        name = batch.trajectory.name(i)
        original = str(name).rsplit("#", 1)[0]
        key = next((k for k in (_key(name), _key(original), original) if k in kept), None)
        if key is None:
            raise BatchError(f"trajectory[{i}] = {name!r} has no chat in meta['messages']")
        chats.append(deepcopy(kept[key]))
    return chats


def _open(conversation: Any, i: int, skip: set[str]) -> tuple[Sequence[Message], dict[str, Any]]:
    if isinstance(conversation, Mapping):
        if "messages" not in conversation:
            raise BatchError(f"conversations[{i}] has no 'messages': expected a list of messages or a dict that holds one")
        more = {k: v for k, v in conversation.items() if k != "messages" and k not in skip}
        if "reward" in more:
            if "outcome" in more:
                raise BatchError(f"conversations[{i}] has both 'reward' and 'outcome', which are the same: keep one")
            more["outcome"] = more.pop("reward")
        for key in more:
            if key not in _TRAJECTORY | _TURN:
                known = sorted(_TRAJECTORY | _TURN)
                near = get_close_matches(key, known) or known
                raise BatchError(f"conversations[{i}] has key {key!r}: did you mean {', '.join(near)}? (or ignore=[{key!r}])")
        return conversation["messages"], more
    return conversation, {}


def _check(messages: Any, i: int) -> None:
    if isinstance(messages, (str, bytes)) or not isinstance(messages, Sequence):
        raise BatchError(f"conversations[{i}] is {type(messages).__name__}: expected a list of messages")
    if not messages:
        raise BatchError(f"conversations[{i}] is empty: a trajectory needs at least one assistant message")
    for m, message in enumerate(messages):
        where = f"conversations[{i}], message {m}"
        if not isinstance(message, Mapping) or "role" not in message:
            raise BatchError(f"{where}: expected a dict with 'role' and 'content'")
        if message["role"] not in ROLES:
            raise BatchError(f"{where}: role = {message['role']!r}, expected one of {', '.join(ROLES)}")
        if message.get("tool_calls") and message["role"] != "assistant":
            raise BatchError(f"{where}: a {message['role']} message has tool_calls; only the assistant calls tools")
        content = message.get("content")
        if not (content is None or isinstance(content, (str, list))):
            raise BatchError(f"{where}: content is {type(content).__name__}, expected a string, a list of parts or None")
        plain(dict(message), where)
    if not any(is_action(m) for m in messages):
        raise BatchError(f"conversations[{i}] has no assistant message: there is nothing to credit")


def _turns(messages: Sequence[Message]) -> list[list[int]]:
    """Indices of the messages of each turn."""
    turns: list[list[int]] = [[]]
    for m, message in enumerate(messages):
        turns[-1].append(m)
        if is_action(message):
            turns.append([])
    rest = turns.pop()
    turns[-1] += rest
    return turns


def _body(message: Message) -> tuple[str, bool]:
    text = written(message) if message["role"] == "assistant" else observed(message)
    return text + END, is_action(message)


def _keys(messages: Sequence[Message], turns: list[list[int]]) -> list[str | None]:
    """What the policy was just shown before each turn and after the last."""
    last = max(m for m in turns[-1] if is_action(messages[m]))
    before = [[m for m in part if m <= last] for part in turns]
    shown = [*before, list(range(last + 1, len(messages)))]
    keys = []
    for part in shown:
        seen = [observed(messages[m]) for m in part if messages[m]["role"] in ("user", "tool")]
        keys.append("\n".join(seen) if seen else None)
    return keys


def _gather(given: list[dict[str, Any]], chats: list[Sequence[Message]]) -> dict[str, Any]:
    """Columns from the dicts of the chats; one that only some of them have is an error."""
    columns: dict[str, Any] = {}
    for name in sorted({k for more in given for k in more}):
        missing = next((i for i, more in enumerate(given) if name not in more), None)
        if missing is not None:
            raise BatchError(f"conversations[{missing}] has no '{name}', though others have: give it to all or to none")
        columns[name] = [more[name] for more in given]
        if name in _TURN:
            for i, (values, chat) in enumerate(zip(columns[name], chats, strict=True)):
                n = sum(map(is_action, chat))
                if not isinstance(values, (list, tuple)) or len(values) != n:
                    raise BatchError(f"conversations[{i}]: {name} needs a list of {n} values, one per assistant message")
    return columns


def _encoded(tokenizer: Tokenizer, texts: list[str], acts: list[bool], places: list[tuple[int, int]]) -> tuple[Int, Int]:
    """Ids of all texts one after another, and how many each has; every text of the policy's needs one."""
    found = []
    for k, (text, own) in enumerate(zip(texts, acts, strict=True)):
        i, m = places[k // 2]
        found.append(_encode(tokenizer, text, f"conversations[{i}], message {m}"))
        if own and not found[-1].size:
            raise BatchError(f"conversations[{i}], message {m}: the tokenizer made no token of {text[:40]!r}")
    return np.concatenate(found), np.asarray([f.size for f in found], dtype=np.int64)


def _encode(tokenizer: Tokenizer, text: str, where: str) -> np.ndarray[Any, Any]:
    found = tokenizer(text)
    if isinstance(found, Mapping) and "input_ids" in found:
        found = found["input_ids"]
    ids = np.asarray(found)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise BatchError(f"{where}: the tokenizer gave {type(found).__name__} of shape {ids.shape}, expected a list of ints")
    return ids.astype(np.int64)


def _name(tokenizer: Any) -> str:
    return str(getattr(tokenizer, "name_or_path", None) or getattr(tokenizer, "__qualname__", type(tokenizer).__name__))


def _key(name: Any) -> str:
    return json.dumps(plain(name, "trajectory"), ensure_ascii=False)
