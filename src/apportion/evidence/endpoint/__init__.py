"""Sources behind an OpenAI-compatible endpoint (vLLM, SGLang, llama.cpp, ``transformers serve``).

They need the extra ``endpoint``: pip install 'apportion[endpoint]'.
"""

from .author import EndpointAuthor
from .client import Endpoint, EndpointError, Reply
from .judge import EndpointJudge
from .limit import Limit
from .sampler import EndpointSampler

__all__ = ["Endpoint", "EndpointAuthor", "EndpointError", "EndpointJudge", "EndpointSampler", "Limit", "Reply"]
