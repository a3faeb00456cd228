from hypothesis import given
from hypothesis import strategies as st

from ablate.data.batches.epoch_order import KeyedPermutation


@given(size=st.integers(1, 400), key=st.text(max_size=5))
def test_is_a_bijection(size: int, key: str) -> None:
    permutation = KeyedPermutation(size, key)
    assert sorted(permutation(index) for index in range(size)) == list(range(size))


def test_key_decides_the_order() -> None:
    one, two = ([KeyedPermutation(100, key)(index) for index in range(100)] for key in ("a", "b"))
    assert one != two
    assert one != list(range(100))


def test_no_place_is_preferred() -> None:
    """Over many keys, index 0 goes everywhere about equally often (chi-square, 9 degrees, p = 1e-6)."""
    counts = [0] * 10
    for key in range(5000):
        counts[KeyedPermutation(10, str(key))(0)] += 1
    assert sum((count - 500) ** 2 / 500 for count in counts) < 45
