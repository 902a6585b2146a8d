"""What a cell must leave as it was: the weights of its model, and everything that decides what they compute."""

from __future__ import annotations

from bench.models.language_model import LanguageModel

__all__ = ["Traces"]

_FEW = 3  # places that a message names


class Traces:
    """How a model stood when this was made; its weights are kept as a checksum.

    Args:
        lm: the model.
    """

    def __init__(self, lm: LanguageModel) -> None:
        self._lm = lm
        self._states = _states(lm)
        self._digest = lm.digest()

    def changes(self) -> list[str]:
        """Say in a few words each what is not as it was."""
        now = _states(self._lm)
        changed = [key for key in dict.fromkeys([*self._states, *now]) if self._states.get(key) != now.get(key)]
        where: dict[str, list[str]] = {}
        for what, place in changed:
            where.setdefault(what, []).append(place)
        said = [what + _places(places) for what, places in where.items()]
        return said if self._lm.digest() == self._digest else ["the model's own weights", *said]


def _places(places: list[str]) -> str:
    named = [repr(place) for place in places[:_FEW] if place]
    more = f" and {len(places) - _FEW} more" if len(places) > _FEW else ""
    return f" of {', '.join(named)}{more}" if named else ""


def _states(lm: LanguageModel) -> dict[tuple[str, str], object]:
    """Give what can be compared, by what it is and where."""
    states: dict[tuple[str, str], object] = {}
    for name, module in lm.model.named_modules():
        place, own = name or type(module).__name__, vars(module)
        states["the module", place] = (id(module), type(module))
        states["the training flag", place] = module.training
        # hooks by their ids: one that was put in the place of another counts
        states["the hooks", place] = {key: list(own[key]) for key in own if key.endswith("_hooks") and own[key]}
        states["the forward method", place] = id(own["forward"]) if "forward" in own else None
    for name, parameter in lm.model.named_parameters():
        states["requires_grad", name] = parameter.requires_grad
        states["the gradient", name] = parameter.grad is not None
        states["the hooks", name] = list(parameter._backward_hooks or ())
    tokenizer = lm.tokenizer
    states["the model's configuration", ""] = lm.model.config.to_dict()
    states["the tokenizer", ""] = (
        len(tokenizer),
        tokenizer.padding_side,
        tokenizer.truncation_side,
        dict(tokenizer.special_tokens_map),
    )
    return states
