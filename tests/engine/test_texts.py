"""Raw prompts, and questions about texts and token ids."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from localphi.chat import ChatRequest, Chunk, Finished, Message, RawPrompt
from localphi.config import disable_telemetry
from localphi.engine.base import Decode, Decoded, Encode, Encoded
from localphi.engine.prompt import prompt_text
from localphi.errors import ContextLengthExceeded, InvalidRequest
from localphi.models.manifest import load_manifest
from serving import DEMO
from tokenizer_folders import TOKENIZERS

disable_telemetry()

from localphi.engine.generator import GeneratorBackend  # noqa: E402  telemetry goes off first
from localphi.engine.texts import Texts  # noqa: E402
from localphi.engine.tokenizer import PhiTokenizer  # noqa: E402

MANIFEST = load_manifest(DEMO)
VOCABULARY = 3072
QUESTION = ChatRequest((Message("user", "What is localphi?"),), max_tokens=12)


@pytest.fixture(scope="module")
def backend() -> GeneratorBackend:
    return GeneratorBackend(DEMO, MANIFEST, threads=1, max_active=2, kv_budget_bytes=2**30)


@pytest.fixture(scope="module")
def texts() -> Texts:
    return Texts(PhiTokenizer(DEMO), MANIFEST, VOCABULARY)


def _ask(backend: GeneratorBackend, request: ChatRequest) -> tuple[str, list[int], Finished]:
    backend.submit(1, request)
    text = ""
    ids: list[int] = []
    while True:
        for _, event in backend.step():
            if isinstance(event, Chunk):
                text, ids = text + event.text, [*ids, *event.token_ids]
            elif isinstance(event, Finished):
                return text, ids, event


def _ids(texts: Texts, text: str, **options: bool) -> tuple[int, ...]:
    reply = texts.reply(Encode(text, **options))
    assert isinstance(reply, Encoded)
    return reply.ids


def _text(texts: Texts, *ids: int) -> str:
    reply = texts.reply(Decode(ids))
    assert isinstance(reply, Decoded)
    return reply.text


def test_the_ids_of_a_rendered_conversation_are_answered_like_the_conversation(
    backend: GeneratorBackend, texts: Texts
) -> None:
    ids = _ids(texts, prompt_text(MANIFEST, QUESTION))
    assert _ask(backend, replace(QUESTION, messages=RawPrompt(ids))) == _ask(backend, QUESTION)


def test_a_raw_text_has_no_turns_around_it(backend: GeneratorBackend) -> None:
    raw = backend.submit(1, replace(QUESTION, messages=RawPrompt("What is localphi?")))
    turn = backend.submit(2, QUESTION)
    backend.cancel(1)
    backend.cancel(2)
    assert raw.prompt_tokens < turn.prompt_tokens


def test_control_tokens_in_a_raw_text_stay_text_and_as_ids_are_what_they_are(texts: Texts) -> None:
    (end,) = _ids(texts, "<|end|>")
    assert end not in texts.prompt_ids(ChatRequest(RawPrompt("a<|end|>")))
    assert texts.prompt_ids(ChatRequest(RawPrompt((64, end)))) == [64, end]


@pytest.mark.parametrize("prompt", ["", "\0", ()])
def test_a_prompt_without_tokens_is_refused(texts: Texts, prompt: str | tuple[int, ...]) -> None:
    with pytest.raises(InvalidRequest, match="no tokens") as caught:
        texts.prompt_ids(ChatRequest(RawPrompt(prompt)))
    assert caught.value.param == "prompt"


@pytest.mark.parametrize("token", [VOCABULARY, -1])
def test_an_id_that_the_model_does_not_have_is_named(texts: Texts, token: int) -> None:
    with pytest.raises(InvalidRequest, match=str(token)) as caught:
        texts.prompt_ids(ChatRequest(RawPrompt((1, token))))
    assert caught.value.param == "prompt"
    with pytest.raises(InvalidRequest, match="3071") as caught:
        texts.reply(Decode((token,)))
    assert caught.value.param == "tokens"


def test_what_begins_every_prompt_comes_where_it_is_asked_for(texts: Texts) -> None:
    begun = replace(MANIFEST, prompt_format=replace(MANIFEST.prompt_format, prefix="<|endoftext|>"))
    texts = Texts(PhiTokenizer(DEMO), begun, VOCABULARY)
    (begin,) = _ids(texts, "<|endoftext|>")
    assert _ids(texts, "a", add_special=True) == (begin, *_ids(texts, "a"))
    assert texts.prompt_ids(ChatRequest(RawPrompt("a"))) == [begin, *_ids(texts, "a")]


@pytest.mark.parametrize("text", ["<|user|>Hello<|end|>", "wörld 日本 🎉", " two  spaces ", "\n", ""])
def test_decoding_gives_the_text_back(texts: Texts, text: str) -> None:
    assert _text(texts, *_ids(texts, text)) == text


def test_control_tokens_are_read_as_text_where_that_is_asked_for(texts: Texts) -> None:
    text = "a<|end|>"
    assert _text(texts, *_ids(texts, text, parse_special=False)) == "a<\u200b|end|>"


def test_each_token_comes_with_its_bytes(texts: Texts) -> None:
    reply = texts.reply(Encode("日本 Hi<|end|>", with_pieces=True))
    assert isinstance(reply, Encoded)
    assert len(reply.pieces) == len(reply.ids)
    assert b"".join(reply.pieces).decode() == "日本 Hi<|end|>"
    assert reply.pieces[0] == "日".encode()[:1]
    assert reply.pieces[-1] == b"<|end|>"


@pytest.fixture
def phi_3(tmp_path: Path) -> Texts:
    """SentencePiece: another spelling of bytes, and a space before the first word."""
    source = TOKENIZERS["phi-3-mini"]
    if not (source / "tokenizer.json").is_file():
        pytest.skip("the tokenizer files of phi-3-mini are not on this machine")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(source / file, tmp_path / file)
    (tmp_path / "genai_config.json").write_bytes((DEMO / "genai_config.json").read_bytes())
    return Texts(PhiTokenizer(tmp_path), MANIFEST, 32064)


@pytest.mark.parametrize("text", ["Hello world", "日本 🎉", "a\n\tb"])
def test_sentencepiece_texts_come_back_too(phi_3: Texts, text: str) -> None:
    assert _text(phi_3, *_ids(phi_3, text)) == text


def test_an_answer_that_goes_on_with_a_text_keeps_its_first_space(phi_3: Texts) -> None:
    (world,) = _ids(phi_3, "world")
    assert phi_3.stream(QUESTION).decode(world) == "world"
    assert phi_3.stream(replace(QUESTION, messages=RawPrompt("Hello"))).decode(world) == " world"


@pytest.mark.parametrize("text", ["word " * 800_000, "x" * 500_000, "<|end|> a" * 100_000])
def test_a_prompt_that_is_far_too_long_is_refused_at_once(texts: Texts, text: str) -> None:
    """GenAI takes minutes for the tokens of the first."""
    begun = time.monotonic()
    with pytest.raises(ContextLengthExceeded, match="more than") as caught:
        texts.prompt_ids(ChatRequest((Message("user", text),)))
    assert caught.value.prompt_tokens > MANIFEST.context_length
    assert time.monotonic() - begun < 10


def test_a_long_prompt_that_fits_keeps_its_ids(texts: Texts) -> None:
    roomy = Texts(PhiTokenizer(DEMO), replace(MANIFEST, context_length=100_000), VOCABULARY)
    asked = ChatRequest((Message("user", "word " * 40_000),))
    assert roomy.prompt_ids(asked) == PhiTokenizer(DEMO).encode(prompt_text(MANIFEST, asked))
