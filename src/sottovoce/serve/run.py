"""``sottovoce serve``: a run's model behind HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from sottovoce import __version__
from sottovoce.core.types import Frame
from sottovoce.inference.model import Model, load_model_of
from sottovoce.inference.transcriber import Transcriber, load_transcriber_of
from sottovoce.serve.app import make_app
from sottovoce.serve.schemas import About
from sottovoce.serve.server import address_of, bound_socket, own_names, serve_until_stopped
from sottovoce.serve.service import Service
from sottovoce.serve.settings import ServerSettings
from sottovoce.serve.uploads import Uploads
from sottovoce.study.runs import known_labels, recipe_of_run


def serve_run(
    run: Path, settings: ServerSettings, host: str, port: int, token: str | None, say: Callable[[str], None]
) -> None:
    """Serves a run until SIGTERM or SIGINT.

    Args:
        run: STUDY/cells/CELL.
        port: 0: any free one, which ``say`` reports.
        token: see :class:`sottovoce.serve.security.Guard`.

    Raises:
        UserError: the folder is not a run, its training is not finished, or the address cannot be used.
    """
    with bound_socket(host, port, token is not None, say) as listening:
        model = _model_of(run, settings, say)
        if settings.transcripts is None:
            settings = settings.model_copy(update={"transcripts": model.hears_words})
        transcriber = _transcriber_of(run, model, say) if settings.transcripts else None
        service = Service(model, transcriber, settings)
        uploads = Uploads(settings.max_bytes, settings.max_seconds, settings.upload_seconds, settings.max_queue)
        names = own_names(listening, host, token is not None)
        app = make_app(service, uploads, _about(run, settings, model.window_seconds), token, names)
        say(f"serving {run} at {address_of(listening, host)}; Ctrl-C stops it")
        serve_until_stopped(app, listening, settings.closing_seconds, partial(setattr, service, "stop"))
    if service.failure is not None:
        raise service.failure


def _model_of(run: Path, settings: ServerSettings, say: Callable[[str], None]) -> Model:
    model = load_model_of(run, say, settings.grammar)
    # Not the recipe's batch size, which may be smaller: the server's batches are computed whole.
    decode = model.settings.model_copy(update={"batch_size": settings.max_batch_size})
    return replace(model, settings=decode, abstain_below=settings.abstain_below)


def _transcriber_of(run: Path, model: Model, say: Callable[[str], None]) -> Transcriber:
    return Transcriber(model.loaded, model.locale) if model.hears_words else load_transcriber_of(run, say)


def _about(run: Path, settings: ServerSettings, window_seconds: float) -> About:
    recipe = recipe_of_run(run)
    known = known_labels(recipe.folder)
    return About(
        title=f"{recipe.title or recipe.name}: {run.resolve().name}",
        version=__version__,
        model=Path(recipe.model).name,  # only the name of a folder
        intents=[Frame(*intent).intent for intent in known.intents],
        slots=list(known.slots),
        max_seconds=settings.max_seconds,
        window_seconds=min(window_seconds, settings.max_seconds),  # some models have no limit
        max_bytes=settings.max_bytes,
        transcripts=bool(settings.transcripts),
        abstain_below=settings.abstain_below,
    )
