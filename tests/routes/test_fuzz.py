"""Whatever comes, no route breaks, and every answer is one that the description of the API knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localphi import create_app
from localphi.config import Settings

hypothesis: Any = pytest.importorskip("hypothesis", reason="hypothesis is not installed (extra 'test')")
schemathesis: Any = pytest.importorskip("schemathesis", reason="schemathesis is not installed (extra 'test')")

GOOD, BAD = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
POSTS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/apply-template",
    "/tokenize",
    "/detokenize",
)
GETS = ("/v1/models/{model_id}", "/v1/streams/{stream_id}", "/models/{model_id}/{name}")
CASES = [
    *((path, "POST", mode) for path in POSTS for mode in (GOOD, BAD)),
    *((path, "GET", GOOD) for path in GETS),
]
_CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
]
_REPEATABLE = hypothesis.settings(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    app = create_app(Settings(home=tmp_path_factory.mktemp("home"), backend="echo"))
    yield schemathesis.openapi.from_wsgi("/openapi.json", app)
    app.extensions["localphi"].close()


@pytest.mark.parametrize(("path", "method", "mode"), CASES, ids=[f"{c[0]} {c[2].value}" for c in CASES])
def test_no_request_breaks_the_server(api: Any, path: str, method: str, mode: Any) -> None:
    """mode: fields that the description allows, or that it forbids."""

    def ask(case: Any) -> None:
        case.call_and_validate(checks=_CHECKS)

    cases = api[path][method].as_strategy(generation_mode=mode)
    _REPEATABLE(hypothesis.given(case=cases)(ask))()
