"""Requests that schemathesis makes up from a server's documentation."""

from __future__ import annotations

from collections import Counter
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi_checks

CHECKS: list[Any] = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.negative_data_rejection,
    openapi_checks.unsupported_method,
]


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
