"""Evidence from a Hugging Face causal language model: what it would have said, and how it would have gone on.

Needs torch and transformers (they are imported where they are used). Any ``AutoModelForCausalLM`` with a plain
key-value cache will do; models with sliding windows or recurrent state are refused where a shared prefix is needed.
"""

from .fitting import fit_head
from .heads import HFHead
from .judge import HFJudge
from .models import load
from .policy import HFPolicy
from .prefix import Prefix
from .sampler import HFSampler

__all__ = ["HFHead", "HFJudge", "HFPolicy", "HFSampler", "Prefix", "fit_head", "load"]
