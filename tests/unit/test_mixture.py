import pytest

from ablate.data.mixture import BLOCK_ROWS, Mixture
from ablate.errors import UsageError


def test_each_source_has_its_share_after_every_block() -> None:
    mixture = Mixture({"a": 0.5, "b": 0.3, "c": 0.2, "absent": 0.0}, data_seed=3)
    assert mixture.sources == ("a", "b", "c")
    counts = [0, 0, 0]
    for row in range(3 * BLOCK_ROWS):
        source, earlier = mixture.place(row)
        # The closed form says what counting says.
        assert earlier == counts[source]
        counts[source] += 1
        if (row + 1) % BLOCK_ROWS == 0:
            assert counts == pytest.approx([0.5 * (row + 1), 0.3 * (row + 1), 0.2 * (row + 1)], abs=1)


def test_order_of_the_yaml_means_nothing() -> None:
    one, two = Mixture({"a": 1, "b": 3}, 0), Mixture({"b": 0.75, "a": 0.25}, 0)
    assert [one.place(row) for row in range(200)] == [two.place(row) for row in range(200)]


def test_seed_moves_the_order_inside_a_block() -> None:
    one, two = Mixture({"a": 1, "b": 1}, 0), Mixture({"a": 1, "b": 1}, 1)
    assert [one.place(row)[0] for row in range(50)] != [two.place(row)[0] for row in range(50)]


def test_a_weight_too_small_to_apportion_is_refused() -> None:
    with pytest.raises(UsageError, match=r"mixture\.weights\.b=0\.001: less than 0\.2% of the rows"):
        Mixture({"a": 0.999, "b": 0.001}, 0)
