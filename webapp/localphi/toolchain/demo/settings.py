"""Every number that decides what the demo model is: shape, vocabulary, training plan, places."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

Turn = tuple[str, str]  # control token of the role, text

MODEL_ID = "localphi-demo"
DATA_FOLDER = Path(__file__).parent
# Asked while the recipe is chosen, so that the held-out set stays unseen until the end.
DEVELOPMENT_CASES = DATA_FOLDER / "development"
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

    vocabulary: int = 3072
    hidden: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 768
    context: int = 2048
    rope_theta: float = 1_000_000.0

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

    A step has rows of short help conversations and rows of skills: tools and JSON mode. Every `long_every`-th
    step has long rows, so that far positions are trained too. By step `late_from` the answers are known by
    heart; what is left to learn is which of them a question wants, so from there on most help conversations
    are one question and the first tokens of its answer.
    Until the share `early_until` of the run is done, the rows of skills are short: copying comes first.
    times: how often a step has the rows that are counted here; a GPU wants more of them at once.
    most_tools: how many tools are offered at most, until a share of the run is done.
    question_weight, request_weight: of the user's tokens in rows of help and in rows of skills; an answer's
    tokens weigh 1. Requests are full of names that cannot be foreseen.
    """

    steps: int = 5500
    times: int = 1
    help_rows: int = 3
    help_row_tokens: int = 512
    skill_rows: int = 3
    skill_row_tokens: int = 768
    early_until: float = 0.12
    early_rows: int = 9
    early_row_tokens: int = 256
    long_every: int = 10
    long_row_tokens: int = 2048
    late_from: int = 300
    cut_share: float = 0.88
    cut_tokens: int = 10
    most_tools: tuple[tuple[float, int], ...] = ((0.12, 2), (0.25, 4), (1.0, 8))
    question_weight: float = 0.1
    request_weight: float = 0.02
    peak_rate: float = 2.5e-3
    final_rate: float = 3e-5
    warm_up_steps: int = 30
    weight_decay: float = 0.05
    clip: float = 1.0
    seed: int = 20261125
    checkpoint_every: int = 50


SHAPE = Shape()
PLAN = Plan()
# To train a finished model further, on more forms of the same: no copying to learn first, more of the help.
FURTHER = replace(
    PLAN,
    steps=2750,
    help_rows=8,
    help_row_tokens=256,
    skill_rows=2,
    skill_row_tokens=1024,
    early_until=0.0,
    most_tools=((0.7, 3), (1.0, 8)),
    late_from=0,
    request_weight=0.0,
    peak_rate=1.5e-3,
    seed=20261127,
)
