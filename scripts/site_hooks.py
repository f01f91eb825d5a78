"""What mkdocs.yml cannot say: how a page of docs/, written for the repository, becomes a page of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
#: Where the site keeps pictures that do not stand in docs/.
KEPT = "repository"
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<ups>(?:\.\./)+)(?P<path>[^)\s]+)\)")
#: GitHub begins a list or a table right behind a line of text; Python-Markdown wants an empty line between.
CROWDED = re.compile(r"^(?P<text>[^\s|`<>#*-].*)\n(?=- |\| )", flags=re.MULTILINE)
CODE = re.compile(r"`[^`]+`")
FENCED = re.compile(r"(^```.*?^```$)", flags=re.MULTILINE | re.DOTALL)
#: The schema of records is a file, not a page.
SCHEMA = re.compile(r"\[(?P<text>[^\]]+)\]\((?:\.\./)?(?P<path>record\.schema\.json)\)")


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add the pictures outside of docs/ that pages show."""
    for page in list(files.documentation_pages()):
        for found in LINK.finditer(page.content_string):
            uri = f"{KEPT}/{found['path']}"
            if found["picture"] and _leaves(found, page) and uri not in files.src_uris:
                files.append(File.generated(config, uri, abs_src_path=str(ROOT / found["path"])))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return what the site shows: a link to a file of the repository that is no page becomes its path."""
    parts = FENCED.split(markdown)
    markdown = "".join(part if part.startswith("```") else _spaced(part) for part in parts)
    markdown = SCHEMA.sub(r"\g<text> (`docs/\g<path>`)", markdown)
    return LINK.sub(lambda found: _placed(found, page.file), markdown)


def _spaced(text: str) -> str:
    """Return text as Python-Markdown wants it; in its tables a bar within code is not escaped."""
    lines = CROWDED.sub(r"\g<text>\n\n", text).split("\n")
    return "\n".join(CODE.sub(_unescaped, line) if line.startswith("|") else line for line in lines)


def _unescaped(found: re.Match[str]) -> str:
    return found.group(0).replace("\\|", "|")


def _leaves(found: re.Match[str], file: Any) -> bool:
    """Whether a link leads out of docs/; pages in a folder of it have one step more to go."""
    return found["ups"].count("../") > file.src_uri.count("/")


def _placed(found: re.Match[str], file: Any) -> str:
    text, path = found["text"], found["path"]
    if not _leaves(found, file):
        return found.group(0)
    if found["picture"]:
        return f"![{text}]({'../' * file.src_uri.count('/')}{KEPT}/{path})"
    return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"
