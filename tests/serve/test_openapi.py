"""What the documentation of the server says, held against the server by requests that schemathesis makes up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_model import FakeModel, app_of, served
from openapi_requests import fuzz

from sottovoce.core.recipe import Decode
from sottovoce.core.types import Labels
from sottovoce.data.prompts import SLU_INSTRUCTION
from sottovoce.decode.constraints import JsonObject
from sottovoce.decode.intent_confidence import IntentTree
from sottovoce.inference.model import Model
from sottovoce.inference.transcriber import Transcriber
from sottovoce.models.load import LoadedModel


@pytest.fixture
def url(loaded: LoadedModel) -> Iterator[str]:
    """The address of a server of the tiny model."""
    tokenizer = loaded.processor.tokenizer
    known, settings = Labels((("light", "on"), ("music", "play")), ("room",)), Decode(batch_size=4, max_new_tokens=4)
    tree = IntentTree(known.intents, tokenizer)
    model = Model(loaded, loaded.model, JsonObject(tokenizer), SLU_INSTRUCTION, tree, known, "en-US", settings)
    app, _ = app_of(model, transcriber=Transcriber(loaded, "en-US"), transcripts=True, max_wait_seconds=0.0)
    with served(app) as address:
        yield address


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
