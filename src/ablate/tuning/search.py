"""One tuning of one arm: a study of candidates under one seed."""

from dataclasses import dataclass

from ablate.grid.expand import Arm, Seeds


@dataclass(frozen=True)
class Search:
    """One tuning of one arm.

    Attributes:
        number: of the arm's tunings, from 0.
        seed: of all its candidates.
        is_repeated: whether the arm has several tunings.
    """

    arm: Arm
    number: int
    seed: int
    is_repeated: bool

    @property
    def label(self) -> str:
        """The arm's label, with the seed where the arm has several tunings."""
        return f"{self.arm.label}, tuning seed {self.seed}" if self.is_repeated else self.arm.label

    @property
    def seeds(self) -> Seeds:
        """The seeds of all its candidates."""
        return Seeds(self.seed, self.seed)
