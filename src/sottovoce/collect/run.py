"""``sottovoce label``: serves a page that asks for recordings of a manifest's utterances, until it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sottovoce.collect.app import label_app
from sottovoce.collect.collection import open_collection
from sottovoce.collect.takes import MANIFEST
from sottovoce.core.progress import Say
from sottovoce.serve.security import read_token
from sottovoce.serve.server import address_of, bound_socket, own_names, serve_until_stopped

CLOSING_SECONDS = 10  # to finish an upload


def label_manifest(
    manifest: Path,
    out: Path,
    say: Say,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token_file: Path | None = None,
    speaker: str | None = None,
    **wanted: Any,
) -> Path:
    """Serves the page that collects recordings until SIGTERM or Ctrl-C, and returns the new manifest.

    Args:
        manifest: with the utterances to record.
        out: the folder for recordings and manifest.
        port: 0 for any free one.
        token_file: has the access token on its first line.
        speaker: who speaks, until the page names another.
        wanted: arguments of `open_collection`.

    Raises:
        UserError: as `open_collection`; the address cannot be used, or the token file has no token.
    """
    token = None if token_file is None else read_token(token_file)
    with open_collection(manifest, out, say, **wanted) as collection:
        if speaker:
            collection.name_speaker(speaker)
        with bound_socket(host, port, token is not None, say) as listening:
            progress = collection.progress()
            say(f"{progress.num_recorded} of {progress.num_wanted} recordings are done")
            say(f"record at {address_of(listening, host)}/ and stop with Ctrl-C")
            names = own_names(listening, host, token is not None)
            app = label_app(collection, out.resolve().name, token, names)
            serve_until_stopped(app, listening, CLOSING_SECONDS)
        progress = collection.progress()
        say(f"{progress.num_recorded} recordings, {progress.seconds_recorded / 60:.1f} minutes")
    return out / MANIFEST
