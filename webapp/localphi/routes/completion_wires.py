"""Answers in the form of OpenAI's completions, whole or as a stream of chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from localphi.chat import (
    AnswerLogprob,
    CallArguments,
    CallStarted,
    Chunk,
    Finished,
    FinishReason,
    Item,
    Progress,
    Usage,
)
from localphi.engine.client import Gone
from localphi.errors import LocalphiError
from localphi.routes import sse
from localphi.routes.answers import Answers, streamed, total_usage, whole
from localphi.routes.logprobs import chat_logprobs
from localphi.routes.openai_errors import error_object
from localphi.routes.wire import head, logprobs_of, progress_fields, text_of, usage_fields

Document = dict[str, Any]


class ChatWire:
    """Answers to a conversation.

    has_tools: they may consist of calls alone, and then their content is null.
    logprobs: they were asked for. tells_ids: chunks have the ids of their tokens.
    """

    def __init__(
        self,
        model_id: str,
        answers: Answers,
        *,
        has_tools: bool = False,
        logprobs: bool = False,
        tells_ids: bool = False,
    ) -> None:
        self._answers = answers
        self._tells_ids = tells_ids
        self._has_logprobs = logprobs
        self._no_content = None if has_tools else ""
        self._head = head("chatcmpl-", model_id)

    def completion(self, gone: Gone) -> Document:
        """The whole answers. Raises RequestAbandoned as soon as nobody waits for them any more."""
        texts = [_WholeMessage(self._no_content) for _ in range(len(self._answers))]
        ends = _take_all(self._answers, gone, lambda index, item: texts[index].add(item))
        choices = [
            {"index": index, **message.choice(self._has_logprobs), "finish_reason": end.reason}
            for index, (message, end) in enumerate(zip(texts, ends, strict=True))
        ]
        return {**self._head, "object": "chat.completion", "choices": choices, **_usage_of(ends)}

    def events(self, include_usage: bool, gone: Gone) -> Iterator[bytes]:
        """The stream. Its first events go out at once; a later failure is an error event, without [DONE].

        Ends without a word when nobody reads it any more, also while the model is still silent.
        """
        for index in range(len(self._answers)):
            yield self._chunk(index, {"role": "assistant", "content": self._no_content})
        yield from _events(self._answers, gone, self._event, self._usage if include_usage else None)

    def _event(self, index: int, item: Item) -> bytes | None:
        if isinstance(item, Finished):
            return self._chunk(index, {}, item.reason)
        if isinstance(item, Progress):
            return self._chunk(index, {}, **progress_fields(item))
        delta, logprobs = _delta(item), logprobs_of(item)
        ids = _ids_of(item) if self._tells_ids else ()
        return self._chunk(index, delta, logprobs=logprobs, ids=ids) if delta or logprobs or ids else None

    def _usage(self, usage: Usage) -> Document:
        return {**self._head, "object": "chat.completion.chunk", "choices": [], **usage_fields(usage)}

    def _chunk(
        self,
        index: int,
        delta: Document,
        reason: FinishReason | None = None,
        logprobs: Sequence[AnswerLogprob] = (),
        ids: Sequence[int] = (),
        **beside: Any,
    ) -> bytes:
        told = chat_logprobs(logprobs) if logprobs else None
        choice: Document = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": told}
        if ids:
            choice["token_ids"] = ids
        return sse.data({**self._head, "object": "chat.completion.chunk", "choices": [choice], **beside})


class TextWire:
    """Answers to a raw prompt, written out like those to a conversation."""

    def __init__(self, model_id: str, answers: Answers, *, tells_ids: bool = False) -> None:
        self._answers = answers
        self._tells_ids = tells_ids
        self._head = {**head("cmpl-", model_id), "object": "text_completion"}

    def completion(self, gone: Gone) -> Document:
        """The whole answers. Raises RequestAbandoned as soon as nobody waits for them any more."""
        texts: list[list[str]] = [[] for _ in range(len(self._answers))]
        ends = _take_all(self._answers, gone, lambda index, item: texts[index].append(text_of(item)))
        pairs = enumerate(zip(texts, ends, strict=True))
        choices = [_text_choice(index, "".join(text), end.reason) for index, (text, end) in pairs]
        return {**self._head, "choices": choices, **_usage_of(ends)}

    def events(self, include_usage: bool, gone: Gone) -> Iterator[bytes]:
        """The stream. A comment goes out at once; a later failure is an error event, without [DONE]."""
        yield sse.KEEPALIVE
        yield from _events(self._answers, gone, self._event, self._usage if include_usage else None)

    def _event(self, index: int, item: Item) -> bytes | None:
        if isinstance(item, Finished):
            return self._chunk(_text_choice(index, "", item.reason))
        if isinstance(item, Progress):
            return self._chunk(_text_choice(index, ""), **progress_fields(item))
        text, ids = text_of(item), _ids_of(item) if self._tells_ids else ()
        if not text and not ids:
            return None
        choice = _text_choice(index, text)
        return self._chunk(choice | {"token_ids": ids} if ids else choice)

    def _usage(self, usage: Usage) -> Document:
        return {**self._head, "choices": [], **usage_fields(usage)}

    def _chunk(self, choice: Document, **beside: Any) -> bytes:
        return sse.data({**self._head, "choices": [choice], **beside})


def _take_all(answers: Answers, gone: Gone, add: Callable[[int, Item], object]) -> list[Finished]:
    """`add` the items of whole answers; their ends in order. The answers are closed whatever happens."""
    ends: dict[int, Finished] = {}

    def take(index: int, item: Item) -> None:
        if isinstance(item, Finished):
            ends[index] = item
        else:
            add(index, item)

    with answers:
        whole(answers, gone, take)
    return [ends[index] for index in range(len(answers))]


def _events(
    answers: Answers,
    gone: Gone,
    event: Callable[[int, Item], bytes | None],
    usage_document: Callable[[Usage], Document] | None,
) -> Iterator[bytes]:
    """event: writes an item, None where there is nothing to show. usage_document: the last one, if wanted."""
    usages: list[Usage] = []
    try:
        for came in streamed(answers, gone):
            if came is None:
                yield sse.KEEPALIVE
                continue
            index, item = came
            if isinstance(item, Finished):
                usages.append(item.usage)
            if shown := event(index, item):
                yield shown
    except LocalphiError as error:
        yield sse.data(error_object(error))
        return
    if answers.over:
        if usage_document is not None:
            yield sse.data(usage_document(total_usage(usages)))
        yield sse.DONE


def _ids_of(item: Item) -> tuple[int, ...]:
    return item.token_ids if isinstance(item, Chunk) else ()


def _usage_of(ends: Sequence[Finished]) -> Document:
    return usage_fields(total_usage([end.usage for end in ends]))


class _WholeMessage:
    """Collects one answer to a conversation."""

    def __init__(self, no_content: str | None) -> None:
        self._message: Document = {"role": "assistant", "content": no_content, "refusal": None}
        self._logprobs: list[AnswerLogprob] = []

    def add(self, item: Item) -> None:
        message = self._message
        self._logprobs.extend(logprobs_of(item))
        match item:
            case Chunk(text=text) if text:
                message["content"] = (message["content"] or "") + text
            case CallStarted(id=call_id, name=name):
                function = {"name": name, "arguments": ""}
                calls = message.setdefault("tool_calls", [])
                calls.append({"id": call_id, "type": "function", "function": function})
            case CallArguments(index, text):
                message["tool_calls"][index]["function"]["arguments"] += text

    def choice(self, has_logprobs: bool) -> Document:
        if "tool_calls" not in self._message:
            self._message["content"] = self._message["content"] or ""
        return {
            "message": self._message,
            "logprobs": chat_logprobs(self._logprobs) if has_logprobs else None,
        }


def _delta(item: Item) -> Document:
    """What came, for a chunk of a stream; empty when there is nothing to show."""
    match item:
        case Chunk(text=text) if text:
            return {"content": text}
        case CallStarted(index, call_id, name):
            function = {"name": name, "arguments": ""}
            return {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}
        case CallArguments(index, text):
            return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}
    return {}


def _text_choice(index: int, text: str, reason: FinishReason | None = None) -> Document:
    return {"index": index, "text": text, "finish_reason": reason, "logprobs": None}
