"""What the documentation of the collection mode says, held against it by requests that schemathesis makes up."""

from pathlib import Path

from fake_model import served
from manifest_rows import row, save_rows
from openapi_requests import fuzz

from sottovoce.collect.app import label_app
from sottovoce.collect.collection import open_collection


def test_made_up_requests_are_answered_as_documented(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    source = save_rows(tmp_path / "source", *(row(n) for n in range(3)))
    with (
        open_collection(source, tmp_path / "out", [].append) as collection,
        served(label_app(collection, "out")) as url,
    ):
        seen = fuzz(url, 10)
    assert seen["/v1/about", 200] and seen["/v1/label/next", 200] and seen["/v1/label/speaker", 400]
    assert seen["/v1/label/recording/{identity}", 400] and seen["/v1/label/recording/{identity}", 404]
