"""Things that are costly to make and kept: fitted editors, fits in the middle, answers of unedited models.

    <root>/editors/<key>/{state.safetensors, fit.parquet, card.json}
    <root>/editors/<key>.checkpoint/{state.safetensors, card.json}
    <root>/bases/<key>/{…, card.json}

The store does not know what the files hold: whoever asks for one writes and reads them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.errors import StoreError
from bench.records.canonical import canonical_json, key_of, parse_record
from bench.records.folder import (
    CARD,
    FileFacts,
    flaw,
    move_aside,
    read_json,
    remove_folder,
    remove_leftovers,
    write_folder,
)

__all__ = ["Artifact", "ArtifactStore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A whole folder of files.

    Args:
        key: digest of its identity.
        folder: where its files are.
        identity: JSON of everything that can change it.
        details: JSON of what is worth keeping beside it: its cost, its losses.
        files: names and facts of the files.
    """

    key: str
    folder: Path
    identity: Mapping[str, object]
    details: Mapping[str, object]
    files: Mapping[str, FileFacts]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Card:
    key: str
    identity: Mapping[str, object]
    details: Mapping[str, object]
    files: Mapping[str, FileFacts]


class ArtifactStore:
    """Artefacts below one folder, such as results/editors.

    Args:
        root: that folder; made when something is written.
        report: is told, in a sentence, of each broken artefact that was moved aside.
        suffix: behind the keys in the names of the folders, so that one root can hold several kinds.
    """

    def __init__(self, root: Path, report: Callable[[str], None] = warnings.warn, *, suffix: str = "") -> None:
        """Point to a folder; nothing is read or written yet."""
        self.root = root
        self.report = report
        self._suffix = suffix

    def folder(self, identity: Mapping[str, object]) -> Path:
        """Give where the artefact of this identity lies, or would."""
        return self.root / f"{key_of(identity)}{self._suffix}"

    def find(self, identity: Mapping[str, object]) -> Artifact | None:
        """Give the artefact of this identity after checking every digest, or None.

        A broken one is moved aside and reported.
        """
        folder = self.folder(identity)
        if not folder.exists():
            return None
        try:
            artifact = _read(folder, verify=True)
            if canonical_json(artifact.identity) != canonical_json(identity):
                raise StoreError("its card has another identity")
            return artifact
        except StoreError as error:
            self.set_aside(folder, str(error))
            return None
        except OSError as error:
            raise StoreError(f"{str(folder)!r} can not be read: {error.strerror or error}.") from error

    def peek(self, folder: Path) -> Artifact | None:
        """Give what a folder's card says, whatever it is of and without checking its files; None if that is nothing."""
        try:
            return _read(folder, verify=False)
        except (StoreError, OSError):
            return None

    def all(self) -> list[Artifact]:
        """Give all artefacts that are whole, by key, without checking their digests; broken ones are reported."""
        pattern = re.compile(rf"[0-9a-f]{{16}}{re.escape(self._suffix)}")
        try:
            folders = sorted(path for path in self.root.iterdir() if pattern.fullmatch(path.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{str(self.root)!r} can not be read: {error.strerror or error}.") from error
        found = []
        for folder in folders:
            try:
                found.append(_read(folder, verify=False))
            except (StoreError, OSError) as error:
                self.report(f"{str(folder)!r} is broken: {str(error).rstrip('.')}.")
        return found

    def set_aside(self, folder: Path, reason: str) -> None:
        """Move a broken artefact aside and report it."""
        aside = move_aside(folder)
        self.report(
            f"{str(folder)!r} is broken: {reason.rstrip('.')}. It was moved to {aside.name!r} and will be made again."
        )

    def remove(self, identity: Mapping[str, object]) -> None:
        """Delete the artefact of this identity, if it is there."""
        remove_folder(self.folder(identity))

    def write(
        self, identity: Mapping[str, object], fill: Callable[[Path], None], details: Mapping[str, object]
    ) -> Artifact:
        """Store an artefact, all or nothing.

        Args:
            identity: JSON of everything that can change it.
            fill: writes its flat files into the folder that it is given.
            details: JSON to keep beside it.

        Raises:
            ConfigError: identity or details are not JSON, or not finite.
            StoreError: the folder can not be written.
        """
        key, folder = key_of(identity), self.folder(identity)
        canonical_json(details)
        artifact = Artifact(key=key, folder=folder, identity=identity, details=details, files={})

        def describe(files: Mapping[str, FileFacts]) -> Mapping[str, object]:
            nonlocal artifact
            artifact = replace(artifact, files=files)
            facts = {name: asdict(file) for name, file in files.items()}
            return {"key": key, "identity": dict(identity), "details": dict(details), "files": facts}

        write_folder(artifact.folder, fill, describe)
        return artifact

    def tidy(self, *, older_than_seconds: float = 0.0) -> int:
        """Delete what killed writers left; the new ones only while nobody else writes. Gives how many."""
        return remove_leftovers(self.root, older_than_seconds=older_than_seconds)


def _read(folder: Path, *, verify: bool) -> Artifact:
    """Read a card and check the files that it names: their lengths, or their digests, too."""
    if folder.is_symlink():
        raise StoreError("it is a link, which a results folder never holds")
    card = parse_record(_Card, read_json(folder / CARD))
    wrong = flaw(folder, card.files, verify=verify)
    if wrong:
        raise StoreError(wrong)
    return Artifact(
        key=key_of(card.identity), folder=folder, identity=card.identity, details=card.details, files=card.files
    )
