from collections.abc import Callable

import pytest


@pytest.fixture
def holds_coverage() -> Callable[..., None]:
    """Checks a count of covered truths against the coverage that a docstring states.

    The stated figure was itself measured, on `measured` other samples. The difference of the two
    shares has the binomial variance p (1 - p) (1/trials + 1/measured); 3.3 standard deviations of
    it give a false alarm for 1 seed in 1,000. Half a per cent is added for the stated rounding.
    """

    def check(hits: int, trials: int, stated: float, measured: float = 2000) -> None:
        sigma = (stated * (1 - stated) * (1 / trials + 1 / measured)) ** 0.5
        rounding = 0.005
        assert abs(hits / trials - stated) <= 3.3 * sigma + rounding

    return check
