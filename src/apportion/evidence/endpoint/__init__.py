"""Sources behind an OpenAI-compatible endpoint (vLLM, SGLang, llama.cpp, ``transformers serve``).

They need the extra ``endpoint``: pip install 'apportion[endpoint]'.
"""

from .author import EndpointAuthor
from .client import Endpoint, EndpointError, Limit, Reply
from .judge import EndpointJudge

__all__ = ["Endpoint", "EndpointAuthor", "EndpointError", "EndpointJudge", "Limit", "Reply"]
