"""What the docs site shows of the repository outside docs/: README as the front page, CONTRIBUTING, recipes, scripts.

Links in these pages, and into them, are written as they work in the repository; here they are turned into the site's.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Page of the site by path in the repository.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "src/sottovoce/score/metrics/README.md": "metrics.md",
    **{path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).as_posix() for path in ROOT.glob("recipes/**/*.yaml")},
}
IN_REPOSITORY = {page: path for path, page in PAGES.items()}
LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)]*)?\)")
CODE = re.compile(r"`[^`\n]+`")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for path, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links to files of the repository into links to pages; one that leads nowhere is left, and mkdocs warns."""
    own = page.file.src_uri
    folder = posixpath.dirname(IN_REPOSITORY.get(own, f"docs/{own}"))

    def of_site(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[1]))
        target = PAGES.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(target) is None:
            return link[0]
        return f"]({posixpath.relpath(target, posixpath.dirname(own) or '.')}{link[2] or ''})"

    # GitHub wants a bar in a table's code escaped, Python-Markdown shows the escape.
    return CODE.sub(lambda code: code[0].replace("\\|", "|"), LINK.sub(of_site, markdown))
