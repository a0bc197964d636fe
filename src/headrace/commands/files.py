"""Files that a user names on the command line."""

from __future__ import annotations

from pathlib import Path

from headrace.commands.calling import fail


def text_of(file: Path) -> str:
    """A file's text. Ends the command when it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        fail(f"{file} is not UTF-8 text")
    except OSError as error:
        fail(f"{file}: {error.strerror}")


def beside(text: str, folder: Path) -> dict[str, str]:
    """The Python files a spec refers to, from its own folder."""
    import yaml

    from headrace.spec import TEXT, needed_files, plain_documents

    if len(text) > TEXT:
        return {}  # the platform refuses it
    try:
        documents = [one for one in plain_documents(text) if isinstance(one, dict)]
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}  # the platform answers with the line
    names = {name for document in documents for name in needed_files(document) if name == Path(name).name}
    return {name: text_of(folder / name) for name in names if (folder / name).is_file()}
