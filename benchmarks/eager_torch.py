"""The baseline: the `code` recipe as a plain eager-PyTorch loop over tokens (eq. 7 and 8).

The layer is written in two ways. `as_written` follows eq. 7 letter by letter. `tuned` is what care
makes of it without leaving eager PyTorch: tokens as rows, so that P and Q multiply the whole batch
in one product, and the masked query is never a key. `softmax` and `with_mlp` are tuned likewise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def tuned(P: Tensor, Q: Tensor, tokens: Tensor) -> Tensor:
    """Predictions (batch,) of the block form for tokens (batch, n + 1, d + 1)."""
    return _linear_attention(token_matrices(P, Q), tokens)


def _linear_attention(matrices: Iterable[tuple[Tensor, Tensor]], tokens: Tensor) -> Tensor:
    n = tokens.shape[1] - 1
    for P_l, Q_l in matrices:
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


def softmax(P: Tensor, Q: Tensor, tokens: Tensor) -> Tensor:
    """Predictions of softmax attention in the block form: the query is a key, but has no value."""
    for P_l, Q_l in token_matrices(P, Q):
        context = tokens[:, :-1]
        weights = torch.softmax((tokens @ Q_l.T) @ tokens.mT, dim=-1)
        tokens = tokens + weights[:, :, :-1] @ (context @ P_l.T) / context.shape[1]
    return -tokens[:, -1, -1]


def with_mlp(W1, b1, W2, b2, P: Tensor, Q: Tensor, tokens: Tensor) -> Tensor:
    """Predictions of an MLP in front of linear attention in the full form (App. B)."""
    units = torch.relu(nn.functional.linear(tokens[:, :, :-1], W1, b1))
    features = nn.functional.linear(units, W2, b2)
    return _linear_attention(zip(P, Q, strict=True), torch.cat([features, tokens[:, :, -1:]], 2))


def token_matrices(P: Tensor, Q: Tensor):
    """(P_l, Q_l) of eq. 7: the trained blocks, and the entries that the block form keeps fixed."""
    border = (0, 1, 0, 1)
    corner = torch.zeros(P.shape[-1] + 1, P.shape[-1] + 1, dtype=P.dtype)
    corner[-1, -1] = 1
    return zip(nn.functional.pad(P, border) + corner, nn.functional.pad(Q, border), strict=True)


def loss(
    predict: Callable[..., Tensor], parameters: Sequence[Tensor], tokens: Tensor, target: Tensor
) -> Tensor:
    """Mean squared error; no factor 1/2."""
    return torch.mean((predict(*parameters, tokens) - target) ** 2)


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


def draw_nonlinear(
    network: nn.Module, batch: int, context: int = 20, dim: int = 5
) -> tuple[Tensor, Tensor]:
    """The same of App. B: the response is linear in what a fixed network makes of x."""
    x = torch.randn(batch, context + 1, dim)
    with torch.no_grad():
        features = network(x)
    return tokens_and_target(x, features @ torch.randn(batch, dim, 1))


def relu_network(hidden: int, dim: int = 5) -> nn.Sequential:
    """A network from d numbers to d numbers, with PyTorch's initial values."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))


def matrices(layers: int, size: int, scale: float) -> list[nn.Parameter]:
    """Initial P and Q."""
    return [nn.Parameter(scale * torch.randn(layers, size, size)) for _ in range(2)]


def training_step(
    predict: Callable[..., Tensor],
    parameters: list[nn.Parameter],
    optimizer: str,
    drawn: Callable[[], tuple[Tensor, Tensor]],
) -> Callable[[], None]:
    """A new run; every call updates it once, on prompts that `drawn` gives."""
    if optimizer == "sgdm":
        update: Any = torch.optim.SGD(parameters, lr=0.02, momentum=0.9)
    else:
        update = torch.optim.Adam(parameters, lr=0.02, betas=(0.9, 0.9))

    def step() -> None:
        tokens, target = drawn()
        update.zero_grad()
        loss(predict, parameters, tokens, target).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        update.step()

    return step


def hessian(P: Tensor, Q: Tensor, tokens: Tensor, target: Tensor) -> Tensor:
    """The dense Hessian; rows and columns are all of P, then all of Q."""

    def of_vector(vector):
        return loss(tuned, vector.reshape(2, *P.shape).unbind(), tokens, target)

    return torch.autograd.functional.hessian(of_vector, torch.cat([P.flatten(), Q.flatten()]))


_DEFAULT_THREADS = torch.get_num_threads()


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


def try_threads(seconds: Callable[[], float]) -> dict[int, list[float]]:
    """Measures with 1 thread and with PyTorch's default."""
    tried = {}
    for count in sorted({1, _DEFAULT_THREADS}):
        with threads(count):
            seconds()
            tried[count] = [seconds() for _ in range(3)]
    return tried


def fastest(tried: dict[int, list[float]]) -> int:
    """The number of threads whose best measurement is best."""
    return min(tried, key=lambda count: min(tried[count]))


def from_prompts(prompts: Any) -> tuple[Tensor, Tensor]:
    """The tokens and targets of attnscape's prompts."""
    x, y, query, target = (
        torch.tensor(array.__array__())
        for array in (prompts.x, prompts.y, prompts.query, prompts.target)
    )
    x = torch.cat([x, query[:, None]], dim=1)
    return tokens_and_target(x, torch.cat([y, target[:, None]], dim=1)[:, :, None])
