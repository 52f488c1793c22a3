"""Flow matching: a net that gives the velocity of straight paths between noise and data."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from fusevae.core.conditional import Conditional
from fusevae.core.errors import SlotError
from fusevae.core.levels import Level
from fusevae.distributions.diffusion import OfGiven
from fusevae.distributions.samplers import Heun, Rows, Solver, evaluate
from fusevae.nets.mlp import as_shape
from fusevae.nets.time_mlp import TimeMLP


class FlowMatching(Conditional):
    r"""A net learns the mean velocity of the paths :math:`x_t = (1 - t)\, x + t\, \epsilon` between data and noise,

    .. math:: \min_u E_{t, \epsilon} \|(\epsilon - x) - u(x_t, t)\|^2

    and a sample follows :math:`dx_t / dt = u(x_t, t)` from noise at t = 1 to t = 0 (Lipman et al. 2023; rectified flow,
    Liu et al. 2023).

    It only samples. The change of variables along the exact solution of that equation has a density, but not of what a
    solver with finitely many steps samples, and nothing says on which side of it an estimate lies: no likelihood is
    claimed. Where one is wanted, take :class:`Diffusion`, whose nets are the same.

    Args:
        net: ``net(x_t, t, *conditions)``, see :mod:`fusevae.nets.time_mlp`.
        shape: of one event.
        solver: :class:`Heun` or :class:`Euler`, with its steps.
        guidance: as of :class:`Diffusion`.

    Example:
        >>> FlowMatching(TimeMLP(2, hidden=16), 2)().sample((5,)).shape
        torch.Size([5, 2])
    """

    level = Level.SAMPLES
    has_mean = False
    needs = (2000, 0)

    def __init__(
        self, net: nn.Module, shape: int | tuple[int, ...], solver: Solver = Heun(), guidance: float = 1.0
    ) -> None:
        super().__init__()
        self.net, self.shape, self.solver, self.guidance = net, as_shape(shape), solver, guidance

    def forward(self, *given: Tensor | None) -> Distribution:
        return _FlowMatching(self, given)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        z = torch.randn(3, 2)
        return [
            (cls(TimeMLP(1, hidden=4, blocks=1), 1, Heun(3)), ()),
            (cls(TimeMLP((1, 1, 2), hidden=4, blocks=1, context=2), (1, 1, 2), Heun(3)), (z,)),
        ]


class _FlowMatching(OfGiven):
    owner: FlowMatching

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        owner, lead = self.owner, torch.Size(sample_shape) + self.batch_shape
        rows = Rows(lead, owner.shape, next(owner.parameters(), torch.zeros(())).device)
        given = rows.given(self.given)

        def field(x: Tensor, t: float) -> Tensor:
            return evaluate(owner.net, x, x.new_full((len(x),), t), given, owner.guidance)

        with torch.no_grad():
            return owner.solver(field, rows.normal()).view(*lead, *owner.shape)

    def log_bound(self, value: Tensor) -> Tensor:
        raise SlotError(
            "FlowMatching only samples, no bound on its likelihood is known: take Diffusion with the same net, or "
            "judge its samples"
        )

    def surrogate(self, value: Tensor) -> Tensor:
        """Less the squared error of the velocity at a random time, which trains the net; no bound."""
        lead = torch.broadcast_shapes(value.shape[: value.dim() - len(self.event_shape)], self.batch_shape)
        rows = Rows(lead, self.owner.shape, value.device)
        t, eps = rows.uniform(), rows.normal()
        x = value.expand(*lead, *rows.event).reshape(-1, *rows.event)
        part = t.view(-1, *[1] * len(rows.event))
        out = evaluate(self.owner.net, x + part * (eps - x), t, rows.given(self.given))
        return -(eps - x - out).square().flatten(1).sum(1).view(lead)
