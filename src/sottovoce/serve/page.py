"""The web page of both servers: the files of one folder, at ``/`` and ``/page/``."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

PAGE = Path(__file__).parent / "page"


def serve_page(app: FastAPI, folder: Path = PAGE) -> None:
    """Adds the page to an app, if its folder exists."""
    if not (folder / "index.html").is_file():
        return

    @app.get("/", include_in_schema=False, response_class=FileResponse)
    async def index() -> FileResponse:
        return FileResponse(folder / "index.html")

    app.mount("/page", StaticFiles(directory=folder), "page")
