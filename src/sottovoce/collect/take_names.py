"""File names of recordings, for any utterance ids."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from urllib.parse import quote

_MAX_LETTERS = 100  # file systems take 255 bytes, of which temporary names need some


def take_names(ids: Iterable[str]) -> dict[str, str]:
    """A file name without suffix for each id: the id itself if possible.

    Everything but letters, digits and ``_.-~`` is percent-encoded. A name that is long, or differs from another only in
    case, which some file systems ignore, ends with ``+`` and a hash of the id.
    """
    names = {identity: quote(identity, safe="") for identity in ids}
    alike = Counter(name.casefold() for name in names.values())
    for identity, name in names.items():
        if name.startswith("."):
            names[identity] = "%2E" + name[1:]  # not hidden, and not a folder
        if len(name) > _MAX_LETTERS or alike[name.casefold()] > 1:
            digest = hashlib.sha256(identity.encode("utf-8")).hexdigest()
            names[identity] = f"{names[identity][:_MAX_LETTERS]}+{digest[:16]}"
    return names
