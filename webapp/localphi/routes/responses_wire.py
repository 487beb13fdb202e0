"""Answers in the form of OpenAI's Responses: a list of items, whole or as a stream of typed events."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from localphi.chat import AnswerLogprob, CallArguments, CallStarted, Chunk, Finished, Item, Usage
from localphi.engine.client import Gone
from localphi.errors import LocalphiError
from localphi.routes import sse
from localphi.routes.answers import Answers, streamed, whole
from localphi.routes.logprobs import chat_logprobs
from localphi.routes.wire import new_id

Document = dict[str, Any]
Status = Literal["completed", "incomplete"]


class ResponseWire:
    """One answer. echo: what it tells of its request."""

    def __init__(self, model_id: str, answers: Answers, echo: Mapping[str, Any]) -> None:
        self._answers = answers
        self._head = {
            "id": new_id("resp_"),
            "object": "response",
            "created_at": int(time.time()),
            "model": model_id,
        }
        self._echo = echo
        self._output = _Output()

    def response(self, gone: Gone) -> Document:
        """The whole answer. Raises RequestAbandoned as soon as nobody waits for it any more."""
        ends: list[Finished] = []

        def take(_: int, item: Item) -> None:
            if isinstance(item, Finished):
                ends.append(item)
            else:
                _drain(self._output.take(item))

        with self._answers:
            whole(self._answers, gone, take)
        _drain(self._output.finish(_status(ends[0])))
        return self._ended(ends[0])

    def events(self, gone: Gone) -> Iterator[bytes]:
        """The stream. Its first events go out at once; a later failure is the event `response.failed`.

        Ends without a word when nobody reads it any more, also while the model is still silent.
        """
        numbers = itertools.count()
        for event in self._events(gone):
            if event is None:
                yield sse.KEEPALIVE
            else:
                yield sse.event({**event, "sequence_number": next(numbers)})

    def _events(self, gone: Gone) -> Iterator[Document | None]:
        yield self._about("response.created", self._document("in_progress"))
        yield self._about("response.in_progress", self._document("in_progress"))
        try:
            for came in streamed(self._answers, gone):
                if came is None:
                    yield None
                elif isinstance(end := came[1], Finished):
                    yield from self._output.finish(_status(end))
                    yield self._about(f"response.{_status(end)}", self._ended(end))
                else:
                    yield from self._output.take(came[1])
        except LocalphiError as error:
            failure = {"code": "server_error", "message": error.message}
            yield self._about("response.failed", self._document("failed", error=failure))

    def _about(self, kind: str, response: Document) -> Document:
        return {"type": kind, "response": response}

    def _ended(self, end: Finished) -> Document:
        cut = {"reason": "max_output_tokens"} if end.reason == "length" else None
        fields = {"completed_at": int(time.time()), "incomplete_details": cut, "usage": _usage(end.usage)}
        return self._document(_status(end), **fields)

    def _document(self, status: str, **fields: Any) -> Document:
        empty = {"completed_at": None, "error": None, "incomplete_details": None, "usage": None}
        return {
            **self._head,
            "status": status,
            **empty,
            **fields,
            "output": self._output.items,
            **self._echo,
        }


class _Output:
    """The items of an answer, as they grow. Each method yields the events that tell of it."""

    def __init__(self) -> None:
        self.items: list[Document] = []
        self._open = False  # the last item
        self._logprobs: list[Document] = []  # of tokens that have not become text yet

    def take(self, item: Item) -> Iterator[Document]:
        match item:
            case Chunk(text=text, logprobs=logprobs):
                self._logprobs += _logprobs(logprobs)
                if text:
                    yield from self._say(text)
            case CallStarted(id=call_id, name=name):
                yield from self._close("completed")
                yield from self._begin(
                    {
                        "type": "function_call",
                        "id": new_id("fc_"),
                        "call_id": call_id,
                        "name": name,
                        "arguments": "",
                        "status": "in_progress",
                    }
                )
            case CallArguments(text=text):
                self.items[-1]["arguments"] += text
                yield self._of_item("response.function_call_arguments.delta", delta=text)

    def finish(self, status: Status) -> Iterator[Document]:
        """The end. An answer of nothing at all is an empty message."""
        if not self.items:
            yield from self._begin_message()
        yield from self._close(status)

    def _say(self, text: str) -> Iterator[Document]:
        if not self._open or self.items[-1]["type"] != "message":
            yield from self._close("completed")
            yield from self._begin_message()
        logprobs, self._logprobs = self._logprobs, []
        (part,) = self.items[-1]["content"]
        part["text"] += text
        part["logprobs"] += logprobs
        yield self._of_part("response.output_text.delta", delta=text, logprobs=logprobs)

    def _begin_message(self) -> Iterator[Document]:
        message: Document = {"type": "message", "id": new_id("msg_"), "role": "assistant"}
        yield from self._begin({**message, "status": "in_progress", "content": []})
        part: Document = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        self.items[-1]["content"].append(part)
        yield self._of_part("response.content_part.added", part=part)

    def _begin(self, item: Document) -> Iterator[Document]:
        self.items.append(item)
        self._open = True
        yield {"type": "response.output_item.added", "output_index": len(self.items) - 1, "item": item}

    def _close(self, status: Status) -> Iterator[Document]:
        if not self._open:
            return
        self._open = False
        item = self.items[-1]
        item["status"] = status
        if item["type"] == "message":
            (part,) = item["content"]
            said = {"text": part["text"], "logprobs": part["logprobs"]}
            yield self._of_part("response.output_text.done", **said)
            yield self._of_part("response.content_part.done", part=part)
        else:
            called = {"name": item["name"], "arguments": item["arguments"]}
            yield self._of_item("response.function_call_arguments.done", **called)
        yield {"type": "response.output_item.done", "output_index": len(self.items) - 1, "item": item}

    def _of_part(self, kind: str, **fields: Any) -> Document:
        return self._of_item(kind, content_index=0, **fields)

    def _of_item(self, kind: str, **fields: Any) -> Document:
        place = {"item_id": self.items[-1]["id"], "output_index": len(self.items) - 1}
        return {"type": kind, **place, **fields}


def _drain(events: Iterable[Document]) -> None:
    for _ in events:
        pass


def _status(end: Finished) -> Status:
    return "incomplete" if end.reason == "length" else "completed"


def _logprobs(tokens: Iterable[AnswerLogprob]) -> list[Document]:
    content: list[Document] = chat_logprobs(tokens)["content"]
    for token in content:
        for entry in (token, *token["top_logprobs"]):
            entry["bytes"] = entry["bytes"] or []  # never null here
    return content


def _usage(usage: Usage) -> Document:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
