"""Things that are costly to make and kept: fitted editors, answers of unedited models.

    <root>/editors/<key>/{state.safetensors, fit.parquet, card.json}
    <root>/bases/<key>/{…, card.json}

The store does not know what the files hold: whoever asks for one writes and reads them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.errors import StoreError
from bench.records.canonical import canonical_json, key_of, parse_record
from bench.records.folder import CARD, FileFacts, flaw, move_aside, read_json, remove_leftovers, write_folder

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
    """

    def __init__(self, root: Path, report: Callable[[str], None] = warnings.warn) -> None:
        """Point to a folder; nothing is read or written yet."""
        self.root = root
        self.report = report

    def find(self, identity: Mapping[str, object]) -> Artifact | None:
        """Give the artefact of this identity after checking every digest, or None.

        A broken one is moved aside and reported.
        """
        folder = self.root / key_of(identity)
        if not folder.exists():
            return None
        try:
            return self._read(folder, identity)
        except StoreError as error:
            aside = move_aside(folder)
            self.report(
                f"{str(folder)!r} is broken: {str(error).rstrip('.')}. It was moved to {aside.name!r} and "
                "will be made again."
            )
            return None
        except OSError as error:
            raise StoreError(f"{str(folder)!r} can not be read: {error.strerror or error}.") from error

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
        key = key_of(identity)
        canonical_json(details)
        artifact = Artifact(key=key, folder=self.root / key, identity=identity, details=details, files={})

        def describe(files: Mapping[str, FileFacts]) -> Mapping[str, object]:
            nonlocal artifact
            artifact = Artifact(key=key, folder=self.root / key, identity=identity, details=details, files=files)
            facts = {name: asdict(file) for name, file in files.items()}
            return {"key": key, "identity": dict(identity), "details": dict(details), "files": facts}

        write_folder(artifact.folder, fill, describe)
        return artifact

    def tidy(self) -> int:
        """Delete what killed writers left; only while nobody else writes. Gives how many."""
        return remove_leftovers(self.root)

    def _read(self, folder: Path, identity: Mapping[str, object]) -> Artifact:
        card = parse_record(_Card, read_json(folder / CARD))
        if canonical_json(card.identity) != canonical_json(identity):
            raise StoreError("its card has another identity")
        wrong = flaw(folder, card.files, verify=True)
        if wrong:
            raise StoreError(wrong)
        return Artifact(key=card.key, folder=folder, identity=card.identity, details=card.details, files=card.files)
