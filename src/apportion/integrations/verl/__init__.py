"""verl: every method as an advantage estimator ``apportion/<method>``, and trainer modes that bring what they need.

Installing apportion is enough: verl loads :mod:`.plugin` by its entry point. An agent loop says what
only it knows (states, rewards of turns) with :func:`hand_over`. See ``docs/verl.md``.
"""

from __future__ import annotations

from .handover import hand_over

__all__ = ["TESTED", "hand_over"]

#: verl versions the plug-in was tested with: this one and above, below the other.
TESTED = ("0.9.1", "0.9.2")
