"""Groups of few bits: the very numbers that MLX makes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pomnit.models.affine import BITS, GROUPS, Packed, dequantise, quantise

shapes = st.tuples(st.sampled_from(BITS), st.sampled_from(GROUPS), st.integers(1, 9), st.integers(1, 5))


def drawn(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Gives rows of very different sizes, some of them of one sign, equal or all zero."""
    draw = np.random.default_rng(seed)
    matrix = draw.standard_normal(shape) * 10.0 ** draw.integers(-9, 4, (shape[0], 1))
    matrix[draw.random(shape[0]) < 0.1] = 0
    matrix[draw.random(shape[0]) < 0.1] = 1.5
    positive = draw.random(shape[0]) < 0.2
    matrix[positive] = np.abs(matrix[positive])
    return matrix.astype(np.float32)


@settings(max_examples=80, deadline=None)
@given(shapes, st.integers(0, 2**32 - 1))
def test_words_scales_and_biases_are_those_of_mlx(form, seed):
    mx = pytest.importorskip("mlx.core")
    bits, group, rows, groups = form
    matrix = drawn((rows, groups * group), seed)
    packed = quantise(matrix, group, bits)
    with mx.stream(mx.cpu):
        wanted = mx.quantize(mx.array(matrix), group, bits)
        for ours, theirs in zip((packed.weight, packed.scales, packed.biases), wanted, strict=True):
            assert np.array_equal(ours, np.array(theirs))
        assert np.array_equal(dequantise(packed), np.array(mx.dequantize(*wanted, group, bits)))


@given(shapes, st.integers(0, 2**32 - 1), st.sampled_from(["float32", "float16"]))
def test_no_number_is_farther_off_than_a_step(form, seed, scales):
    bits, group, rows, groups = form
    matrix = drawn((rows, groups * group), seed).clip(-100, 100)
    packed = quantise(matrix, group, bits, scales)
    step = np.abs(packed.scales).repeat(group, 1)
    rounding = 0.0 if scales == "float32" else 0.002 * np.abs(matrix).max() + 1e-7 * 2**bits
    assert packed.shape == matrix.shape
    assert (np.abs(dequantise(packed) - matrix) <= step + rounding).all()


def test_rounded_scales_lose_nothing():
    """The numbers are chosen for the scales as they were rounded; rounding them afterwards costs 1 %."""
    matrix = (0.05 * np.random.default_rng(0).standard_normal((512, 384))).astype(np.float32)

    def off(packed: Packed) -> float:
        return float(np.sqrt(np.mean((dequantise(packed) - matrix) ** 2)))

    exact, rounded = quantise(matrix, 64, 8), quantise(matrix, 64, 8, "float16")
    after = Packed(exact.weight, exact.scales.astype(np.float16), exact.biases.astype(np.float16), 8, 64)
    assert off(rounded) < 1.002 * off(exact)
    assert off(after) > 1.005 * off(exact)


def test_a_matrix_of_many_runs_of_rows_is_that_of_one():
    matrix = drawn((40_000, 64), 3)
    packed = quantise(matrix, 64, 6)
    some = np.array([0, 16_383, 16_384, 39_999])
    alone = quantise(np.ascontiguousarray(matrix[some]), 64, 6)
    assert np.array_equal(packed.rows(some).weight, alone.weight)
    assert np.array_equal(dequantise(packed)[some], dequantise(alone))
