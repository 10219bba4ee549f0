"""The policy table of the transformer: pi(a | context) for every text it can read, and gradients through it.

Decoding is constrained to legal actions: after the words written so far only tokens that some action goes on with
are let through, so that log pi(a | c) = sum_j log softmax over legal tokens of word j.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ..tabular import Bool, Float, Int
from .model import Shape, logits, one_thread
from .text import Vocabulary

#: Texts read at a time.
CHUNK = 2048


class Reader:
    """Runs a transformer of one shape on contexts followed by the words of actions. spelling: see ``Task``."""

    def __init__(self, shape: Shape, vocabulary: Vocabulary, spelling: Bool) -> None:
        self.shape, self.words = shape, vocabulary.spelt
        A, L = self.words.shape
        begun, self.follows = np.unique(self.words[:, : L - 1], axis=0, return_inverse=True)
        self.begun, self.follows = begun, self.follows.ravel()
        self.legal = np.zeros((A, L, shape.vocabulary), dtype=np.bool_)
        for b in range(A):
            for j in range(L):
                self.legal[b, j, self.words[spelling[b, j], j]] = True

    def log_policy(self, flat: Any, texts: Int, legal: bool = True) -> Any:
        """log pi of every action in every context, (C, A), as a torch tensor that knows its gradient.

        legal False: among all tokens of the vocabulary, as a model that nobody holds to legal actions has it.
        """
        import torch

        rows = [self._some(flat, texts[i : i + CHUNK], legal) for i in range(0, len(texts), CHUNK)]
        return torch.cat(rows) if len(rows) > 1 else rows[0]

    def _some(self, flat: Any, texts: Int, legal: bool) -> Any:
        import torch

        (C, width), (A, L), U = texts.shape, self.words.shape, len(self.begun)
        whole = np.empty((C, U, width + L - 1), dtype=np.int64)
        whole[:, :, :width] = texts[:, None, :]
        whole[:, :, width:] = self.begun[None, :, :]
        out = logits(self.shape, flat, torch.from_numpy(whole.reshape(C * U, -1)), L).reshape(C, U, L, -1)
        chosen = out[:, torch.from_numpy(self.follows)]  # (C, A, L, V)
        open_ = chosen.masked_fill(torch.from_numpy(~self.legal), float("-inf")) if legal else chosen
        words = torch.from_numpy(self.words)[None, :, :, None].expand(C, A, L, 1)
        return (open_.gather(3, words)[..., 0] - open_.logsumexp(dim=3)).sum(dim=2)

    def table(self, theta: Float, texts: Int) -> Float:
        """pi (C, A), without gradients."""
        import torch

        with one_thread(), torch.no_grad():
            found: Float = self.log_policy(torch.from_numpy(theta.ravel()), texts).exp().numpy()
        return normal(found)

    def token(self, theta: Float, texts: Int, token: int) -> Float:
        """log p(token) as the next token of each text, among all tokens of the vocabulary, (n,)."""
        import torch

        with one_thread(), torch.no_grad():
            out = logits(self.shape, torch.from_numpy(theta.ravel()), torch.from_numpy(texts), 1)[:, 0]
            found: Float = out.log_softmax(dim=1)[:, token].numpy()
        return found


def normal(pi: Float) -> Float:
    """Rows that sum to 1: rounding only, the words of all actions already do."""
    found: Float = pi / pi.sum(axis=1, keepdims=True)
    return found


class Table:
    """The transformer at one point theta, run once on all contexts; gradients reuse what was run."""

    def __init__(self, reader: Reader, theta: Float, texts: Int) -> None:
        import torch

        self.reader, self.texts = reader, texts
        self.flat = torch.from_numpy(np.ascontiguousarray(theta.ravel())).requires_grad_(True)
        with one_thread():
            self._log = reader.log_policy(self.flat, texts)

    @cached_property
    def pi(self) -> Float:
        found: Float = self._log.detach().exp().numpy()
        return normal(found)

    def pull_back(self, coefficient: Float) -> Float:
        """sum_ca coefficient d log pi / d theta: (C, A) -> (n,)."""
        import torch

        with one_thread():
            weight = torch.from_numpy(np.ascontiguousarray(coefficient))
            (g,) = torch.autograd.grad((self._log * weight).sum(), self.flat, retain_graph=True)
        found: Float = g.numpy()
        return found

    def pull_back_part(self, coefficient: Float) -> Float:
        """The same, running only the contexts that have a coefficient: for parts that share none."""
        import torch

        used = np.flatnonzero(coefficient.any(axis=1))
        if not used.size:
            return np.zeros(self.flat.shape[0])
        with one_thread():
            flat = self.flat.detach().requires_grad_(True)
            some = self.reader.log_policy(flat, self.texts[used])
            (g,) = torch.autograd.grad((some * torch.from_numpy(coefficient[used])).sum(), flat)
        found: Float = g.numpy()
        return found
