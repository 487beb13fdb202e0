"""Questions that the project's own pages answer, each with words that only the right passage holds.

The questions were written by hand before anything was measured, in words that a person would ask with
rather than those of the text. A question whose words have left the pages is passed over; `questions()` says
so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md", "agents/README.md", "agents/samples/README.md", "docs/security.md",
    "docs/decisions.md", "docs/quantization.md", "docs/speed.md", "static/README.md",
    "static/client/README.md",
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """A passage is right when it holds `words`, whatever white space is between them."""

    text: str
    words: str

    def answered_by(self, passage: str) -> bool:
        return one_line(self.words) in one_line(passage)


def one_line(text: str) -> str:
    return " ".join(text.split())


_SET = (
    ("Which Python do I need to start it?", "needs Python 3.11 or newer"),
    ("How do I run this on Windows without make?", "python -m venv .venv"),
    ("How many weights does the little model in the package have?", "6 million parameters"),
    ("What happens when the graphics driver computes nonsense?", "broken driver gives you the next device"),
    ("Can I choose by hand where the browser computes?", "in the address decides for it"),
    ("Do my chats get lost when I close the tab?", "Chats stay in the browser's storage"),
    ("What if the download breaks off half way?", "after a cut, a crash or a closed tab it goes on"),
    ("Can I use the model in my own web page?", "an ES module with OpenAI's interface"),
    ("How do I call the server with curl?", "curl -N localhost:8000/v1/chat/completions"),
    ("What does the server do with fields it cannot honour?", "is refused by name with 400"),
    ("How many requests are computed together?", "Up to eight requests are computed together"),
    ("What does a client get when the queue is full?", "A full queue is a 429"),
    ("How can a client come back to a stream after it lost the connection?", "x-stream-resumable: 1"),
    ("How long is an answer kept for a reader who left?", "what came stays for five minutes"),
    ("Is the JSON of tool calls always valid?", "every finished call parses and fits"),
    ("Which schemas can the grammar not hold?", "several `patternProperties`"),
    ("How do I give access to another person?", "localphi keys new alice"),
    ("How do I put TLS in front of it?", "flush_interval -1"),
    ("Where do I set the threads that the model computes with?", "LOCALPHI_THREADS"),
    ("How do I take over a LoRA that PEFT saved?", "localphi adapters convert path/to/lora"),
    ("How do I get Phi-4-mini onto my machine?", "localphi models pull phi-4-mini"),
    ("Can it fetch from a mirror of the Hugging Face hub?", "HF_ENDPOINT"),
    ("How do I measure tokens per second?", "localphi bench # the demo model"),
    ("Is transformers.js compared with it?", "localphi bench --browser --vs transformers.js"),
    ("How do I use Intel's runtime instead of ONNX Runtime?", "pip install 'localphi[openvino]'"),
    ("How do I run it on an NVIDIA card?", "pip install 'localphi[cuda]'"),
    ("Why does each model have its own process?", "holds Python's interpreter lock while it computes"),
    ("When is a model removed from memory?", "unloaded when nobody has wanted it for"),
    ("What happens to <|end|> in what a user types?", "are broken by an invisible"),
    ("How long does it take to train the demo again?", "training (two hours on two cores)"),
    ("The port is taken, what now?", "localphi serve --port 8001"),
    ("The page does not use my GPU. Why?", "the page runs on WASM although there is a GPU"),
    ("Does an agent block the event loop?", "It never blocks the event loop"),
    ("Can agents run without a server?", "with InProcessClient("),
    ("How do I use it with Microsoft Agent Framework?", "PhiChatClient(), "),
    ("Which plugins for functions are there?", "`now`, `weekday`, `add`, `between`, `convert_zone`"),
    ("Can the plugin for files read outside of its folder?", "links and `..` that lead out"),
    ("How do I connect tools of an MCP server?", "McpTools(\"npx some-mcp-server\")"),
    ("How do I offer my agent to another program over MCP?", "It has one tool, `ask_phi(question)`"),
    ("What exception is raised in Semantic Kernel?", "failure is a `ServiceResponseException`"),
    ("Which sample shows two agents talking to each other?", "two agents in one chat, in turn"),
    ("Can a web page that I visit misuse the server?", "rebind its own name to `127.0.0.1`"),
    ("How are access keys stored?", "the store keeps the SHA-256"),
    ("How large may a request be?", "4 MB and 128 levels"),
    ("Is anything of my prompts written to a log?", "holds a word of a prompt"),
    ("What about a client that sends one byte at a time?", "A request has 60 seconds to come in whole"),
    ("Does it phone home?", "Python opens no connection and looks up no name"),
    ("Are several users of the same computer kept apart?", "Users of one machine from each other"),
    ("Why is the demo exported with accuracy level 0?", "Level 4 would be faster on CPUs"),
    ("Why was Preact chosen for the page?", "Preact and signals for the page"),
    ("Why do agents open a new connection each time?", "agents open a connection per request"),
    ("Why are constants beyond ASCII escaped in the grammar?", "constants and property names beyond ASCII"),
    ("Why does the demo model start with copying circuits?", "the demo is born with induction heads"),
    ("Can a cached prefix change what is answered?", "reuse may move a near tie"),
    ("How is Markdown kept from running foreign HTML?", "HTML never comes into being on the way"),
    ("What happens when the same chat is open in two tabs?", "A `BroadcastChannel` tells tabs"),
    ("Which folder of the page's source holds the sampler?", "ONNX Runtime, key-value cache, decode loop"),
    ("Do I need Node installed?", "Node comes as a Python package"),
    ("How do I set up a client like Claude to ask the agent?", '"args": ["agent", "--mcp"]'),
    ("Which tests prove that links in models are not followed?", "test_links_out_of_a_model_are_not"),
)  # fmt: skip


def questions() -> list[Question]:
    """Those that the pages still answer."""
    text = " ".join(one_line((ROOT / page).read_text(encoding="utf-8")) for page in PAGES)
    return [Question(question, words) for question, words in _SET if one_line(words) in text]


def rank(passages: list[str], question: Question) -> int | None:
    """The place of the first right passage, from 1."""
    return next((n for n, text in enumerate(passages, 1) if question.answered_by(text)), None)


def recall_and_mrr(ranks: list[int | None], at: int = 5) -> tuple[float, float]:
    """Share of the questions with a right passage among the first `at`; mean of 1 / rank, to rank ten."""
    found = sum(1 for place in ranks if place is not None and place <= at)
    return found / len(ranks), sum(1 / place for place in ranks if place and place <= 10) / len(ranks)
