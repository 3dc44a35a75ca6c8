"""Paths of parameters and subspaces along them against known geometry."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from attnscape.statistics import displacement_angles, distance_from_start, subspace_overlap


def test_a_circle_turns_by_the_same_angle_everywhere():
    """Chords of a regular polygon of n corners turn by 360 / n, in any rotation and plane."""
    corners = 2 * np.pi * np.arange(9) / 8
    circle = np.pad(3 * np.stack([np.cos(corners), np.sin(corners)], axis=1), ((0, 0), (0, 4)))
    path = circle @ ortho_group.rvs(6, random_state=0) + 5
    np.testing.assert_allclose(displacement_angles(path), np.full(7, 45), rtol=1e-12)
    np.testing.assert_allclose(distance_from_start(path), 6 * np.sin(corners / 2), atol=1e-12)


def test_small_angles_keep_their_digits():
    path = [[0.0, 0.0], [1.0, 0.0], [2.0, 1e-9]]
    assert displacement_angles(path)[0] == pytest.approx(np.degrees(1e-9), rel=1e-9)


def test_runs_are_measured_side_by_side_and_lost_iterates_are_nan():
    paths = np.random.default_rng(0).standard_normal((2, 3, 5, 4))
    paths[0, 0, 3] = np.nan
    paths[1, 1, 2] = paths[1, 1, 1]  # it stands still
    angles, distances = displacement_angles(paths), distance_from_start(paths)
    assert angles.shape == (2, 3, 3)
    assert distances.shape == (2, 3, 5)
    assert np.argwhere(np.isnan(distances)).tolist() == [[0, 0, 3]]
    undefined = [[0, 0, 1], [0, 0, 2], [1, 1, 0], [1, 1, 1]]
    assert np.argwhere(np.isnan(angles)).tolist() == undefined
    np.testing.assert_array_equal(angles[0, 1], displacement_angles(paths[0, 1]))


@pytest.mark.parametrize("turn", [0.0, 20.0, 90.0])
def test_the_overlap_of_turned_planes_is_that_of_their_principal_angles(turn):
    """Planes that share one axis and are turned about it by t overlap by (1 + cos^2 t) / 2."""
    t = np.radians(turn)
    basis = ortho_group.rvs(5, random_state=1)
    plane = basis[:2]
    turned = np.stack([basis[0], np.cos(t) * basis[1] + np.sin(t) * basis[2]])
    mixed = ortho_group.rvs(2, random_state=2) @ turned  # another basis of the same plane
    expected = (1 + np.cos(t) ** 2) / 2
    np.testing.assert_allclose(subspace_overlap([plane, plane], [turned, mixed]), expected)


def test_random_subspaces_overlap_by_their_part_of_all_dimensions():
    bases = ortho_group.rvs(10, size=4000, random_state=3)
    overlaps = subspace_overlap(bases[:2000, :3], bases[2000:, :3])
    assert overlaps.mean() == pytest.approx(0.3, abs=4 * overlaps.std() / np.sqrt(2000))


def test_a_vector_that_is_missing_makes_the_overlap_nan():
    vectors = np.stack([np.eye(4)[:2], np.full((2, 4), np.nan)])
    assert np.isnan(subspace_overlap(vectors, vectors)).tolist() == [False, True]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: subspace_overlap(np.eye(3), np.eye(4)), r"shapes \(3, 3\) and \(4, 4\)"),
        (lambda: subspace_overlap(2 * np.eye(3), np.eye(3)), "off by 3"),
        (lambda: displacement_angles(np.zeros((2, 5))), "at least 3 steps"),
        (lambda: distance_from_start(np.zeros(5)), r"shape \(5,\)"),
    ],
)
def test_what_is_no_path_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
