"""Every number that decides what the demo model is: shape, vocabulary, training plan, places."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

Turn = tuple[str, str]  # control token of the role, text

MODEL_ID = "localphi-demo"
DATA_FOLDER = Path(__file__).parent
BUNDLED_FOLDER = DATA_FOLDER.parents[1] / "models" / "bundled" / MODEL_ID
DEFAULT_WORK_FOLDER = Path("build") / "demo"

END_OF_TEXT = "<|endoftext|>"
SYSTEM = "<|system|>"
USER = "<|user|>"
ASSISTANT = "<|assistant|>"
END = "<|end|>"
TOOL, TOOL_CLOSE = "<|tool|>", "<|/tool|>"
TOOL_CALL, TOOL_CALL_CLOSE = "<|tool_call|>", "<|/tool_call|>"
TOOL_RESPONSE = "<|tool_response|>"
CONTROL_TOKENS = (
    END_OF_TEXT,
    SYSTEM,
    USER,
    ASSISTANT,
    END,
    TOOL,
    TOOL_CLOSE,
    TOOL_CALL,
    TOOL_CALL_CLOSE,
    TOOL_RESPONSE,
    *(f"<|placeholder{n}|>" for n in range(1, 7)),
)


@dataclass(frozen=True)
class Shape:
    """The network. Head size is `hidden // heads`; the control tokens are the last ids of the vocabulary."""

    vocabulary: int = 2048
    hidden: int = 256
    layers: int = 6
    heads: int = 8
    kv_heads: int = 4
    intermediate: int = 768
    context: int = 2048
    rope_theta: float = 10000.0

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    @property
    def text_vocabulary(self) -> int:
        """Ids below this one are bytes and merges; the control tokens follow."""
        return self.vocabulary - len(CONTROL_TOKENS)

    @property
    def kv_bytes_per_token(self) -> int:
        """Keys and values of one token in all layers, in float32."""
        return 2 * self.layers * self.kv_heads * self.head_size * 4


@dataclass(frozen=True)
class Plan:
    """The training run.

    Every `long_every`-th step has long rows, so that far positions are trained too. By step `late_from` the
    answers are known by heart; what is left to learn is which of them a question wants. From there on most
    conversations are one question and the first tokens of its answer, and the steps are smaller and more.
    """

    steps: int = 2600
    row_tokens: int = 512
    rows: int = 8
    long_row_tokens: int = 2048
    long_rows: int = 2
    late_from: int = 300
    late_rows: int = 3
    late_long_rows: int = 1
    cut_share: float = 0.8
    cut_tokens: int = 10
    long_every: int = 8
    peak_rate: float = 2e-3
    final_rate: float = 2e-5
    warm_up_steps: int = 60
    weight_decay: float = 0.05
    clip: float = 1.0
    question_weight: float = 0.1
    bf16: bool = True
    threads: int = 2
    seed: int = 20261120
    checkpoint_every: int = 100


SHAPE = Shape()
PLAN = Plan()
