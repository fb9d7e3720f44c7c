"""What the documentation of the server says, held against the server by requests that schemathesis makes up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fake_model import FakeModel, app_of, served
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi_checks

from sottovoce.core.recipe import Decode
from sottovoce.decode.constraints import JsonObject
from sottovoce.decode.intent_confidence import IntentTree
from sottovoce.inference.model import Model
from sottovoce.inference.transcriber import Transcriber
from sottovoce.models.load import LoadedModel

CHECKS: list[Any] = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.negative_data_rejection,
    openapi_checks.unsupported_method,
]


@pytest.fixture
def url(loaded: LoadedModel) -> Iterator[str]:
    """The address of a server of the tiny model."""
    tokenizer = loaded.processor.tokenizer
    tree = IntentTree([("light", "on"), ("music", "play")], tokenizer)
    model = Model(loaded, loaded.model, JsonObject(tokenizer), tree, "en-US", Decode(batch_size=4, max_new_tokens=4))
    app, _ = app_of(model, transcriber=Transcriber(loaded, "en-US"), transcripts=True, max_wait_seconds=0.0)
    with served(app) as address:
        yield address


def fuzz(url: str, num_examples: int) -> Counter[tuple[str, int]]:
    """Sends so many requests of each kind to each route; how often which status was answered."""
    seen = Counter[tuple[str, int]]()
    for found in schemathesis.openapi.from_url(f"{url}/v1/openapi.json").get_all_operations():
        operation = found.ok()
        for mode in GenerationMode if operation.body else [GenerationMode.POSITIVE]:

            @settings(
                max_examples=num_examples, deadline=None, database=None, derandomize=True,
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                response = case.call()
                case.validate_response(response, checks=CHECKS)
                seen[case.operation.path, response.status_code] += 1

            ask()
    return seen


def test_made_up_requests_are_answered_as_documented(url: str) -> None:
    seen = fuzz(url, 15)
    assert seen["/v1/about", 200] and seen["/healthz", 200] and seen["/metrics", 200]
    assert seen["/v1/understand", 200] and seen["/v1/understand", 415]
    assert seen["/v1/understand", 400] or seen["/v1/understand", 422]


@pytest.mark.slow
def test_many_made_up_requests_are_answered_as_documented(url: str) -> None:
    assert sum(fuzz(url, 500).values()) > 1000


def test_every_route_has_a_tag_its_errors_and_an_example() -> None:
    app, _ = app_of(FakeModel(), token="a-token-of-some-length")
    described = app.openapi()
    routes = {(path, method): each for path, methods in described["paths"].items() for method, each in methods.items()}
    assert {path for path, _ in routes} == {"/v1/about", "/v1/understand", "/v1/transcribe", "/healthz", "/metrics"}
    for (path, _), route in routes.items():
        assert route["tags"] and route["responses"]["500"]
        assert bool(route.get("security")) == (path != "/healthz")
    refused = {"400", "401", "403", "408", "413", "415", "422", "500", "503", "504"}
    assert set(routes["/v1/understand", "post"]["responses"]) == refused | {"200"}
    assert set(routes["/v1/transcribe", "post"]["responses"]) == refused | {"200", "404"}
    assert described["components"]["schemas"]["Understood"]["example"]["intent"] == "light_on"
