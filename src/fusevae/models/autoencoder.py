"""Regularised deterministic autoencoders: no bound is claimed, and sampling needs a prior that is fitted afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import is_parametrized

from fusevae.core import noise
from fusevae.core.conditional import Conditional, parameters
from fusevae.core.errors import InputError, SlotError
from fusevae.core.levels import Level
from fusevae.core.trace import Term, Trace
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.models.latents import Latents
from fusevae.models.vae import VAE
from fusevae.nets.mlp import MLP
from fusevae.nets.outset import set_apart

APART = 500  # examples by whose latents an encoder begins


class Deterministic(Latents):
    r"""z = encoder(x), a point: there is no q(z | x) with a density, so the model has no likelihood.

    Args:
        encoder: a net from x to z.
        penalty: weight of :math:`\frac12 \|z\|^2`, which keeps the latents together.
        prior: what samples z; fitted to the latents after the training (``fusevae fit-prior``), None before.
    """

    level = Level.SAMPLES

    def __init__(self, encoder: nn.Module, penalty: float = 1.0, prior: Conditional | None = None) -> None:
        super().__init__()
        self.encoder, self.penalty, self.prior, self.started = encoder, penalty, prior, False

    def infer(
        self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()
    ) -> tuple[Tensor, list[Term], dict[str, Tensor]]:
        z = parameters(self.encoder, (x, *conditions))
        square = z.square().flatten(1).sum(1)
        return z.expand(*samples, *z.shape), [], {"latent_penalty": 0.5 * self.penalty * square}

    def generate(self, shape: Sequence[int], *conditions: Tensor | None) -> Tensor:
        if self.prior is None:
            raise SlotError(
                "this autoencoder has no prior to sample from: fit one to its latents, fusevae fit-prior RUN flow "
                "--output NEW"
            )
        return noise.sample_to(self.prior(*conditions), shape)

    def encode(self, x: Tensor, *conditions: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        z = parameters(self.encoder, (x, *conditions))
        return z, {"latent": z}

    def complete(self, z: Tensor, *conditions: Tensor | None) -> Tensor:
        return z

    def inference(self) -> list[nn.Module]:
        return [self.encoder]

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Let each number of the latents begin with the mean and the deviation that N(0, I) has; one that differed by
        less than a thousandth, by a thousand times as much. Of pictures that are nearly alike a critic told them from
        draws of the prior at once, and they stayed one point."""
        if self.started:
            return
        x = examples()
        z = parameters(self.encoder, (x[:: -(-len(x) // APART)],))
        self.started = z.dim() == 2 and set_apart(self.encoder, z)

    def _load_from_state_dict(self, *given: Any) -> None:
        super()._load_from_state_dict(*given)
        self.started = True

    @classmethod
    def examples(cls) -> list[tuple[Self, Any]]:
        return [(cls(MLP(3, 2, hidden=(4,)), prior=Normal(2)), torch.randn(5, 3))]


class RAE(VAE):
    r"""An autoencoder whose decoder is kept smooth, in place of the noise of a VAE (Ghosh et al. 2020).

    Args:
        latents: a :class:`Deterministic`.
        decoder: p(x | z); its log-probability is the reconstruction.
        regulariser: ``"l2"``: the squared weights of the decoder; ``"gradient"``: :math:`\|\partial x / \partial
            z\|_F^2` of its mean, by one random direction (Hutchinson 1990); ``"spectral"``: each layer's largest
            singular value is 1 (Miyato et al. 2018); ``"none"``.
        weight: of the first two.

    Example:
        >>> import torch
        >>> rae = RAE(Deterministic(MLP(4, 2)), Gaussian(MLP(2, 4), scale="shared"), "gradient")
        >>> sorted(rae.trace(torch.zeros(3, 4)).auxiliary)
        ['decoder_penalty', 'latent_penalty']
    """

    def __init__(
        self,
        latents: Deterministic,
        decoder: Conditional,
        regulariser: Literal["l2", "gradient", "spectral", "none"] = "l2",
        weight: float = 1e-4,
    ) -> None:
        super().__init__(latents, decoder)
        self.regulariser, self.weight = regulariser, weight
        if regulariser == "gradient" and not decoder.has_mean:
            raise InputError(f"{type(decoder).__name__} has no mean whose gradient could be penalised: take 'l2'")
        if regulariser == "spectral":
            for part in list(decoder.modules()):
                if isinstance(part, (nn.Linear, nn.Conv2d)) and not is_parametrized(part, "weight"):
                    parametrizations.spectral_norm(part)

    def trace(self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()) -> Trace:
        trace = super().trace(x, *conditions, samples=samples)
        z, auxiliary = trace.latent, trace.auxiliary
        assert z is not None
        if torch.is_grad_enabled():
            if self.regulariser == "l2":
                squares = sum(p.square().sum() for p in self.decoder.parameters())
                auxiliary["decoder_penalty"] = self.weight * torch.as_tensor(squares).expand(len(x))
            elif self.regulariser == "gradient":
                mean = trace.likelihood.mean
                direction = noise.normal(mean.shape, mean.device, dim=len(trace.likelihood.batch_shape) - 1)
                (slope,) = torch.autograd.grad(mean, z, direction, create_graph=True)
                auxiliary["decoder_penalty"] = self.weight * slope.square().flatten(1).sum(1)
        return trace

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        latents = Deterministic(MLP(2, 1, hidden=(3,)), prior=Normal(1))
        return [(cls(latents, Gaussian(MLP(1, 2, hidden=(3,)), scale="shared")), ())]
