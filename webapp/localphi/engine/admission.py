"""Blocks of a KV pool, promised to answers before they begin.

GenAI's engine admits whatever comes and takes blocks as answers grow. When the pool is empty in the middle of
several, none of them can go on and none gives way (0.18: `run` then returns at once, for ever). So an answer
begins when the pool can keep what it is promised, and grows only within its promise.
"""

from __future__ import annotations


class BlockPool:
    """Who is promised how much. Shared prefixes take fewer blocks than are counted here, never more."""

    def __init__(self, blocks: int, block_tokens: int) -> None:
        self.tokens = blocks * block_tokens
        self._block_tokens = block_tokens
        self._free = blocks
        self._promised: dict[int, int] = {}

    @property
    def used(self) -> float:
        """The part of all blocks that is promised."""
        return 1 - self._free * self._block_tokens / self.tokens if self.tokens else 0.0

    def promise(self, owner: int, tokens: int) -> bool:
        """Promise `owner` room for so many tokens in all. False, and nothing done, where there is none."""
        blocks = -(-tokens // self._block_tokens)
        more = max(0, blocks - self._promised.get(owner, 0))
        if more > self._free:
            return False
        self._free -= more
        self._promised[owner] = self._promised.get(owner, 0) + more
        return True

    def promised(self, owner: int) -> int:
        """Tokens that `owner` has room for."""
        return self._promised.get(owner, 0) * self._block_tokens

    def give_back(self, owner: int) -> None:
        """All that `owner` was promised. May be called twice."""
        self._free += self._promised.pop(owner, 0)
