import math

import pytest

from ablate.config.training import DivergenceConfig
from ablate.training.divergence import DivergedError, DivergenceDetector

CONFIG = DivergenceConfig(window_steps=4, rise_nats=1.0)


def seen(losses: list[float]) -> DivergenceDetector:
    watch = DivergenceDetector(CONFIG)
    for step, loss in enumerate(losses, start=1):
        watch.see(step, loss, 1.0)
    return watch


def test_a_falling_loss_and_one_bad_batch_pass() -> None:
    assert seen([8, 7, 6, 5, 4, 4, 7.9, 4, 4, 4, 4]).lowest == 4


def test_a_loss_that_rises_slowly_from_where_it_began_passes() -> None:
    assert seen([5.0] * 4 + [5.9] * 20).lowest == 5.0


def test_a_loss_that_rose_and_stays_up_ends_the_run() -> None:
    with pytest.raises(DivergedError, match=r"its mean is 5\.500 nats, it was 4\.000 \(step 11; .*rise_nats=1\)"):
        seen([8, 7, 4, 4, 4, 4, 4, 4, 6, 6, 6, 6, 6])


def test_nothing_is_said_before_the_window_is_full() -> None:
    assert seen([1, 9, 9]).lowest == math.inf


@pytest.mark.parametrize(("loss", "norm", "told"), [(math.nan, 1.0, "loss is nan"), (2.0, math.inf, "norm is inf")])
def test_what_is_not_finite_ends_the_run_and_is_kept_as_text(loss: float, norm: float, told: str) -> None:
    watch = seen([2.0])
    with pytest.raises(DivergedError, match=f"{told} at step 2") as caught:
        watch.see(2, loss, norm)
    evidence = caught.value.evidence
    assert evidence["last_losses"] == [2.0, "nan" if math.isnan(loss) else loss]
    assert evidence["last_gradient_norms"] == [1.0, "inf" if math.isinf(norm) else norm]


def test_a_state_goes_on_as_if_nothing_had_been() -> None:
    losses = [8.0, 7, 4, 4, 4, 4]
    again = DivergenceDetector(CONFIG)
    again.restore(seen(losses).state())
    assert again == seen(losses)
