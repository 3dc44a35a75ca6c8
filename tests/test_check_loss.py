"""What `attnscape check loss` finds of losses that keep their contract, and of some that do not."""

import jax
import jax.numpy as jnp
import pytest

from attnscape.tasks import AbsoluteError, Huber, Logistic, SquaredError
from attnscape.validation import check_loss


def hinge(prediction, target):
    return jnp.maximum(0, 1 - prediction * target)


def quartic(prediction, target):
    return jnp.sin(prediction * target) + 0.3 * (prediction - target) ** 4


@pytest.mark.parametrize(
    ("loss", "kinked", "convex"),
    [
        (SquaredError(), False, True),
        (AbsoluteError(), True, True),
        (Huber(0.3), False, True),
        (Logistic(), False, True),
        (hinge, True, True),
        (quartic, False, False),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_kinks_and_convexity_are_told(loss, kinked, convex):
    results = {result.check: result for result in check_loss(loss)}
    assert all(result.ok for result in results.values())
    assert results["kinks"].warning is kinked
    assert ("not convex" in results["convexity"].sentence) is not convex


def root(prediction, target):
    return jnp.sqrt(jnp.abs(prediction - target))


def frozen(prediction, target):
    return jax.lax.stop_gradient(prediction - target) * prediction


def wrong(prediction, target):
    return jnp.where(prediction * target < 0, 1.0, 0.0).astype(prediction.dtype)


@pytest.mark.parametrize(
    ("loss", "check", "words"),
    [
        (root, "finite, float64", "slopes are not finite"),
        (frozen, "gradient", "differences of the loss give"),
        (wrong, "gradient", "slope is 0"),
        (lambda p, t: jnp.array([p - t]), "one number, float32", "of shape (1,)"),
    ],
)
def test_broken_losses_fail(loss, check, words):
    failed = {result.check: result.sentence for result in check_loss(loss) if not result.ok}
    assert words in failed[check]
