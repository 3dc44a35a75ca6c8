"""The baseline: the `code` recipe as a plain eager-PyTorch loop over tokens (eq. 7 and 8).

The layer is written in two ways. `as_written` follows eq. 7 letter by letter. `tuned` is what care
makes of it without leaving eager PyTorch: tokens as rows, so that P and Q multiply the whole batch
in one product, and the masked query is never a key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def tuned(P: Tensor, Q: Tensor, tokens: Tensor) -> Tensor:
    """Predictions (batch,) of the block form for tokens (batch, n + 1, d + 1)."""
    n = tokens.shape[1] - 1
    for P_l, Q_l in token_matrices(P, Q):
        context = tokens[:, :-1]
        scores = (tokens @ Q_l.T) @ context.mT
        tokens = tokens + scores @ (context @ P_l.T) / n
    return -tokens[:, -1, -1]


def as_written(P: Tensor, Q: Tensor, tokens: Tensor) -> Tensor:
    """The same by Z_{l+1} = Z_l + (1/n) P_l Z_l M (Z_l^T Q_l Z_l)."""
    Z = tokens.mT
    n = Z.shape[-1] - 1
    M = torch.ones(n + 1, dtype=Z.dtype)
    M[-1] = 0
    for P_l, Q_l in token_matrices(P, Q):
        Z = Z + P_l @ (Z * M) @ (Z.mT @ (Q_l @ Z)) / n
    return -Z[:, -1, -1]


FORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "tuned": tuned,
    "as_written": as_written,
}


def token_matrices(P: Tensor, Q: Tensor):
    """(P_l, Q_l) of eq. 7: the trained blocks, and the entries that the block form keeps fixed."""
    border = (0, 1, 0, 1)
    corner = torch.zeros(P.shape[-1] + 1, P.shape[-1] + 1, dtype=P.dtype)
    corner[-1, -1] = 1
    return zip(nn.functional.pad(P, border) + corner, nn.functional.pad(Q, border), strict=True)


def loss(form: str, P: Tensor, Q: Tensor, tokens: Tensor, target: Tensor) -> Tensor:
    """Mean squared error; no factor 1/2."""
    return torch.mean((FORMS[form](P, Q, tokens) - target) ** 2)


def draw(setting: int, batch: int, context: int = 20, dim: int = 5) -> tuple[Tensor, Tensor]:
    """Fresh prompts of Setting 1 or 3: tokens and targets."""
    x = torch.randn(batch, context + 1, dim)
    if setting == 3:
        squared_radius = torch.distributions.Gamma(0.1, 1 / 10).sample((batch, context + 1, 1))
        x = x * (squared_radius.sqrt() / x.norm(dim=-1, keepdim=True))
    return tokens_and_target(x, x @ torch.randn(batch, dim, 1))


def tokens_and_target(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """From covariates (batch, n + 1, d) and responses (batch, n + 1, 1), the query's last."""
    target = y[:, -1, 0].clone()
    y[:, -1] = 0
    return torch.cat([x, y], dim=2), target


def training_step(
    form: str, optimizer: str, setting: int, layers: int = 3, batch: int = 1000
) -> Callable[[], None]:
    """A new run; every call updates it once."""
    P, Q = (nn.Parameter(0.05 * torch.randn(layers, 5, 5)) for _ in range(2))
    if optimizer == "sgdm":
        update: Any = torch.optim.SGD([P, Q], lr=0.02, momentum=0.9)
    else:
        update = torch.optim.Adam([P, Q], lr=0.02, betas=(0.9, 0.9))

    def step() -> None:
        tokens, target = draw(setting, batch)
        update.zero_grad()
        loss(form, P, Q, tokens, target).backward()
        nn.utils.clip_grad_norm_([P, Q], 1.0)
        update.step()

    return step


def hessian(P: Tensor, Q: Tensor, tokens: Tensor, target: Tensor) -> Tensor:
    """The dense Hessian; rows and columns are all of P, then all of Q."""

    def of_vector(vector):
        return loss("tuned", *vector.reshape(2, *P.shape), tokens, target)

    return torch.autograd.functional.hessian(of_vector, torch.cat([P.flatten(), Q.flatten()]))


def use_best_threads(seconds: Callable[[], float]) -> dict[int, list[float]]:
    """Measures with 1 thread and with PyTorch's default, keeps the faster, returns both."""
    tried = {}
    for threads in sorted({1, torch.get_num_threads()}):
        torch.set_num_threads(threads)
        seconds()
        tried[threads] = [seconds() for _ in range(3)]
    torch.set_num_threads(min(tried, key=lambda threads: min(tried[threads])))
    return tried


def from_prompts(prompts: Any) -> tuple[Tensor, Tensor]:
    """The tokens and targets of attnscape's prompts."""
    x, y, query, target = (
        torch.tensor(array.__array__())
        for array in (prompts.x, prompts.y, prompts.query, prompts.target)
    )
    x = torch.cat([x, query[:, None]], dim=1)
    return tokens_and_target(x, torch.cat([y, target[:, None]], dim=1)[:, :, None])
