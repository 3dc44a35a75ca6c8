import numpy as np
import pytest

from attnscape.statistics import (
    CONDITION_NUMBERS,
    PUBLIC_CODE,
    block_condition_numbers,
    condition_number,
    dead_parameters,
    negative_eigenvalues,
    sharpness,
)


def symmetric(spectrum, dead=0, seed=0):
    """A matrix of known spectrum, with as many dead parameters behind it."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(len(spectrum), len(spectrum))))[0]
    H = np.zeros((len(spectrum) + dead,) * 2)
    H[: len(spectrum), : len(spectrum)] = Q * np.asarray(spectrum) @ Q.T
    return (H + H.T) / 2


def stored(H):
    """What the Curvature measure stores of a matrix."""
    return {
        "eigenvalues": np.linalg.eigvalsh(H),
        "diagonal": np.diagonal(H, axis1=-2, axis2=-1),
        "row_norm": np.linalg.norm(H, axis=-1),
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("eigenvalue-absolute", 8 / 4.5),  # 1 2 4 5 6 8
        ("eigenvalue-absolute-lower-median", 8 / 4),
        ("eigenvalue-signed", 8 / 1.5),  # -6 -4 1 2 5 8
        ("eigenvalue-signed-lower-median", 8 / 1),
    ],
)
def test_a_known_spectrum_gives_its_condition_numbers(name, expected):
    H = symmetric([8, -4, 1, 5, 2, -6])
    assert condition_number(name, **stored(H)) == pytest.approx(expected)
    with_dead = symmetric([8, -4, 1, 5, 2, -6], dead=3)
    assert condition_number(f"{name}-live", **stored(with_dead)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("diagonal-lower-median", 7 / 2),  # absolute: 0 2 3 7; live: 2 3 7
        ("diagonal-median", 7 / 2.5),
        ("diagonal-signed", 3 / 1),  # signed: -7 0 2 3
        ("diagonal-lower-median-live", 7 / 3),
        ("diagonal-median-live", 7 / 3),
        ("diagonal-signed-live", 3 / 2),
    ],
)
def test_a_known_diagonal_gives_its_condition_numbers(name, expected):
    assert condition_number(name, **stored(np.diag([3.0, 0, -7, 2]))) == pytest.approx(expected)


@pytest.mark.parametrize("p", [1, 2, 7, 150])
def test_the_public_code_takes_the_median_of_torch(p):
    torch = pytest.importorskip("torch", reason="torch.median is the reference; torch is missing")
    H = symmetric(np.random.default_rng(p).normal(size=p))
    diagonal = torch.tensor(np.diag(H)).abs()
    expected = float(diagonal.max() / diagonal.median())
    assert condition_number(PUBLIC_CODE, **stored(H)) == pytest.approx(expected, rel=1e-15)


def test_ordinary_medians_are_numpys_and_leading_axes_are_kept():
    rng = np.random.default_rng(1)
    H = np.stack([symmetric(rng.normal(size=6), dead=k, seed=k)[:6, :6] for k in range(4)])
    diagonal = np.abs(np.diagonal(H, axis1=-2, axis2=-1))
    expected = diagonal.max(-1) / np.median(diagonal, -1)
    got = condition_number("diagonal-median", **stored(H.reshape(2, 2, 6, 6)))
    np.testing.assert_allclose(got, expected.reshape(2, 2), rtol=1e-15)


def test_matrices_with_different_numbers_of_dead_parameters_go_together():
    H = np.stack([symmetric([9, 1, 3], dead=2), symmetric([9, 1, 3, 5, 7], dead=0)])
    got = condition_number("eigenvalue-absolute-live", **stored(H))
    np.testing.assert_allclose(got, [9 / 3, 9 / 5])


@pytest.mark.parametrize("name", CONDITION_NUMBERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_nan_infinite_and_zero_hessians_have_no_condition_number(name, value):
    array = np.full((2, 5), value)
    assert np.isnan(condition_number(name, eigenvalues=array, diagonal=array, row_norm=array)).all()


def test_a_median_of_rounding_size_or_below_zero_has_no_condition_number():
    spectra = np.array([[-1, 1e-17, 1], [-1, -0.5, 1], [-1, 0, 1], [-1, 1e-12, 1]])
    got = CONDITION_NUMBERS["eigenvalue-signed"](spectra, spectra, np.ones_like(spectra))
    np.testing.assert_array_equal(got, [np.nan, np.nan, np.nan, 1e12])


def test_every_name_has_a_live_twin_and_describes_itself():
    plain = [name for name in CONDITION_NUMBERS if not name.endswith("-live")]
    assert {f"{name}-live" for name in plain} | set(plain) == set(CONDITION_NUMBERS)
    assert len({str(number) for number in CONDITION_NUMBERS.values()}) == 16
    assert str(CONDITION_NUMBERS[PUBLIC_CODE]) == (
        "largest over lower median of absolute diagonal entries"
    )


def test_each_block_has_the_number_of_its_own_matrix():
    blocks = [symmetric([4, 1, -2], dead=1, seed=1), symmetric([6, 5], seed=2)]
    H = np.zeros((6, 6))
    H[:4, :4], H[4:, 4:] = blocks
    whole = {name: values for name, values in stored(H).items() if name != "eigenvalues"}
    for name in (n for n, number in CONDITION_NUMBERS.items() if number.of == "diagonal"):
        got = block_condition_numbers(name, ["P0"] * 4 + ["Q0"] * 2, **whole)
        assert list(got) == ["P0", "Q0"]
        for number, block in zip(got.values(), blocks, strict=True):
            np.testing.assert_allclose(number, condition_number(name, **stored(block)), rtol=1e-12)


def test_sharpness_and_counts_follow_the_known_spectrum():
    H = np.stack([symmetric([3, -5, 1, -2], dead=2), symmetric([1, 2, 3, 4, 5, 6])])
    given = stored(H)
    np.testing.assert_allclose(sharpness(given["eigenvalues"]), [3, 6])
    np.testing.assert_array_equal(dead_parameters(given["row_norm"]), [2, 0])
    np.testing.assert_array_equal(negative_eigenvalues(given["eigenvalues"]), [2, 0])
    assert np.isnan(dead_parameters([np.nan, 0]))
    assert np.isnan(negative_eigenvalues([np.nan, 0]))


def test_mistakes_are_named():
    given = stored(np.eye(2))
    with pytest.raises(ValueError, match="no condition number 'median'; there are diagonal-lower"):
        condition_number("median", **given)
    with pytest.raises(ValueError, match=r"diagonal \(3,\)"):
        condition_number(PUBLIC_CODE, **given | {"diagonal": np.ones(3)})
    with pytest.raises(ValueError, match="names 1 parameters, but there are 2"):
        block_condition_numbers(PUBLIC_CODE, ["P0"], diagonal=np.ones(2), row_norm=np.ones(2))
    with pytest.raises(ValueError, match="'eigenvalue-signed' is a number of eigenvalues"):
        block_condition_numbers(
            "eigenvalue-signed", ["P0"] * 2, diagonal=np.ones(2), row_norm=np.ones(2)
        )
