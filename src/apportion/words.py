"""The closed vocabularies that batches, methods and credit share.

Every word here is a term of the field; ``get_args`` of each alias lists what is valid.
"""

from __future__ import annotations

from typing import Literal, get_args

#: What a column or a value is attached to. A ``prefix`` is the state *before* a turn (or after the
#: last one): a trajectory with n turns has n + 1 prefixes. A ``step_prefix`` is the same between
#: steps; without steps the two are one. Segments are named span tables.
Axis = Literal["token", "segment", "step", "turn", "prefix", "step_prefix", "row", "trajectory", "episode", "group"]

#: What can receive credit.
Unit = Literal["token", "segment", "step", "turn", "trajectory"]

#: What a credit value means to a trainer.
#: advantage: multiplies the policy gradient; reward: still has to be turned into an advantage;
#: weight: multiplies the loss of imitated tokens.
Kind = Literal["advantage", "reward", "weight"]

#: Which spread divides a centred value: nothing, the sample (ddof 1) or the population (ddof 0).
Spread = Literal["none", "sample", "population"]

#: Over what the spread is taken: the group, all of the batch about its own mean, or what is left of
#: the batch once every group's baseline is subtracted.
SpreadOver = Literal["group", "batch", "centred_batch"]

#: What a group of one gets: an error (no baseline can be made), its own value, or zero.
Single = Literal["error", "raw", "zero"]

#: What is averaged in the loss. trajectory: token sum, then mean over trajectories; token: mean
#: over all kept tokens; sequence: mean over the kept tokens of a row, then over rows; unit: mean
#: over kept units; limit: token sum / generation limit, then mean over rows.
Denominator = Literal["trajectory", "token", "sequence", "unit", "limit"]

#: What the importance ratio is taken over.
Ratio = Literal["token", "turn", "sequence"]

#: Where evidence comes from, strongest first.
Provenance = Literal[
    "recorded",
    "exact_restore",
    "text_refeed",
    "log_matching",
    "learned",
    "model_judgement",
    "privileged",
    "oracle",
]

#: How far a formula has been checked against its source.
Status = Literal["verified", "secondary", "reconstructed", "ours"]

#: What a batch must hold whole for the credit of its parts to be right: a log is read in such pieces.
Scope = Literal["trajectory", "group", "batch"]


def check_word(value: str, words: object, field: str) -> None:
    """Raise ``ValueError`` naming ``field`` unless ``value`` is one of ``words``."""
    allowed = get_args(words)
    if value not in allowed:
        raise ValueError(f"{field} = {value!r}: expected one of {', '.join(allowed)}")
