"""Where the tokenizers of the vectors lie. The real Phi ones are test data beside a checkout, not in it."""

from __future__ import annotations

import os
from pathlib import Path

from serving import DEMO, ROOT

REAL = Path(os.environ.get("LOCALPHI_TOKENIZERS", ROOT.parent / "shared" / "tokenizers"))
TOKENIZERS = {"localphi-demo": DEMO, "phi-3-mini": REAL / "phi-3-mini"}
