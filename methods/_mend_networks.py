"""The networks of MEND: running statistics, residual layers, and the transformation of gradient factors."""

from __future__ import annotations

import math
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from bench.errors import EditError
from bench.methods._mend_switches import Switches
from bench.models.architecture import Matrix

__all__ = ["GradientNetwork", "Statistics", "Transform", "Variant"]

Transform = Literal["both", "only_u", "only_delta", "only_smaller", "split"]
_LARGEST_FLOAT_COUNT = 2**24  # float32 has no next whole number


class Variant(Protocol):
    """What of a configuration shapes the networks."""

    @property
    def rank(self) -> int: ...
    @property
    def no_norm(self) -> bool: ...
    @property
    def no_id_init(self) -> bool: ...
    @property
    def transform(self) -> Transform: ...


class Statistics(nn.Module):
    """Running mean and standard deviation of each dimension, over all rows ever seen.

    Args:
        width: features of a row.
        switches: how to count, what to floor, and whether to go on where a stored state ended.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, width: int, switches: Switches) -> None:
        super().__init__()
        self.switches = switches
        self.is_stale = not switches.keeps_statistics  # what a state brought is forgotten at the first update
        dtype = torch.int64 if switches.counter == "int64" else torch.float32
        self.register_buffer("count", torch.zeros((), dtype=dtype))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("squares", torch.zeros(width))  # sum of squared deviations from the mean

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Take in (N, width) rows, all at once (Chan's merge); rows with NaN or infinity do not count.

        Raises:
            EditError: fewer than two rows were seen by now, and the switches refuse that.
        """
        if self.is_stale:
            self.is_stale = False
            for buffer in (self.count, self.mean, self.squares):
                buffer.zero_()
        rows = rows[rows.isfinite().all(1)]  # or one broken micro-batch would spoil all that follow
        count = len(rows)
        if count == 0:
            return
        mean = rows.mean(0)
        total = self.count + count
        if self.switches.counter == "float32":
            total = total.clamp(max=_LARGEST_FLOAT_COUNT)  # where the reference's steps of one come to nothing
        gap = mean - self.mean
        self.squares += (rows - mean).square().sum(0) + gap.square() * (self.count * count / total)
        self.mean += gap * (count / total)
        self.count.copy_(total)
        if self.switches.single_row == "refused" and int(self.count) < 2:
            raise EditError(
                "mend has seen one token of this shape of matrix and needs two for a standard deviation. "
                "Begin with a longer request, or set single_row=passes."
            )

    def normalise(self, rows: Tensor) -> Tensor:
        """Centre (N, width) rows and divide them by the unbiased standard deviation + 1e-7.

        Before two rows have been seen there is no deviation, and rows stay as they are.
        """
        if int(self.count) < 2:
            return rows
        std = (self.squares / (self.count - 1)).sqrt()
        if self.switches.std_floor > 0:
            std = std.clamp(min=self.switches.std_floor * float(std.mean()))
        return (rows - self.mean) / (std + 1e-7)


class ResidualLayer(nn.Module):
    """h = z + max(0, scale ⊙ (U V z + bias) + shift), with a scale and a shift a mode.

    Args:
        width: of z and h.
        modes: how many matrices share the layer; None: one, without scale and shift.
        variant: the rank, and whether the layer starts as the identity.
        has_bias: otherwise there is none.
        v_init: of an identity's V.
        generator: draws the initial values.
    """

    def __init__(
        self,
        width: int,
        modes: int | None,
        variant: Variant,
        *,
        has_bias: bool,
        v_init: str,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        rank = min(variant.rank, width)
        self.is_residual = not variant.no_id_init
        self.u = nn.Parameter(torch.zeros(width, rank))
        self.v = nn.Parameter(torch.empty(rank, width))
        self.bias = nn.Parameter(torch.zeros(width)) if has_bias else None
        self.scale = None if modes is None else nn.Parameter(torch.ones(modes, width))
        self.shift = None if modes is None else nn.Parameter(torch.zeros(modes, width))
        if self.is_residual and v_init == "normal":
            nn.init.normal_(self.v, generator=generator)
        else:
            nn.init.xavier_uniform_(self.v, generator=generator)
        if not self.is_residual:
            nn.init.xavier_uniform_(self.u, gain=math.sqrt(2), generator=generator)

    def forward(self, z: Tensor, mode: int) -> Tensor:
        inner = z @ self.v.T @ self.u.T
        if self.bias is not None:
            inner = inner + self.bias
        if self.scale is not None and self.shift is not None:
            inner = self.scale[mode] * inner + self.shift[mode]
        # clamp, not relu: its subgradient at 0 is 1, and the zero-initialised U would get no signal otherwise
        inner = inner.clamp(min=0)
        return z + inner if self.is_residual else inner


class LayerPair(nn.Module):
    """Two residual layers, one after the other.

    Args:
        width, modes, variant, generator: as the layers take them.
        switches: whether the second has a bias, and how the first factor starts.
    """

    def __init__(
        self, width: int, modes: int | None, variant: Variant, switches: Switches, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ResidualLayer(width, modes, variant, has_bias=has, v_init=switches.v_init, generator=generator)
            for has in (True, switches.second_bias)
        )

    def forward(self, z: Tensor, mode: int) -> Tensor:
        for layer in self.layers:
            z = layer(z, mode)
        return z


class GradientNetwork(nn.Module):
    """Maps the factors of a gradient to those of a change: (u, δ) → (ũ, δ̃).

    Args:
        matrix: one of the matrices that share the network; all have its shape.
        modes: how many share it; None: it is not made to be shared.
        variant: see there.
        switches: see there.
        generator: draws the initial values.
    """

    def __init__(
        self, matrix: Matrix, modes: int | None, variant: Variant, switches: Switches, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.is_normalised = not variant.no_norm
        self.of_inputs = Statistics(matrix.in_features, switches)
        self.of_grads = Statistics(matrix.out_features, switches)

        widths = _widths(variant.transform, matrix.in_features, matrix.out_features)
        parts = {part: LayerPair(width, modes, variant, switches, generator) for part, width in widths.items()}
        self.parts = nn.ModuleDict(parts)

    def forward(self, inputs: Tensor, grads: Tensor, mode: int, *, is_training: bool) -> tuple[Tensor, Tensor]:
        """Normalise and transform (N, in) inputs and (N, out) gradients."""
        return self.transform(*self.normalise(inputs, grads, is_training=is_training), mode)

    def normalise(self, inputs: Tensor, grads: Tensor, *, is_training: bool) -> tuple[Tensor, Tensor]:
        """Normalise rows, each of its own kind; training rows count in their own statistics."""
        if not self.is_normalised:
            return inputs, grads
        if is_training:
            self.of_inputs.update(inputs)
            self.of_grads.update(grads)
        return self.of_inputs.normalise(inputs), self.of_grads.normalise(grads)

    def transform(self, inputs: Tensor, grads: Tensor, mode: int) -> tuple[Tensor, Tensor]:
        """Transform normalised rows; what has no network passes as it is."""
        if "both" in self.parts:
            joined = self._through("both", torch.cat([inputs, grads], dim=1), mode)
            inputs, grads = joined.split([inputs.shape[1], grads.shape[1]], dim=1)
            return inputs, grads
        return self._through("u", inputs, mode), self._through("delta", grads, mode)

    def _through(self, part: str, rows: Tensor, mode: int) -> Tensor:
        if part not in self.parts:
            return rows
        through: Tensor = self.parts[part](rows, mode)
        return through


def _widths(transform: Transform, n_in: int, n_out: int) -> dict[str, int]:
    """Give the width of each network: of u and δ joined, or of one of them."""
    u, delta = {"u": n_in}, {"delta": n_out}
    match transform:
        case "both":
            return {"both": n_in + n_out}
        case "split":
            return u | delta
        case "only_u":
            return u
        case "only_delta":
            return delta
        case "only_smaller":
            return delta if n_in > n_out else u
