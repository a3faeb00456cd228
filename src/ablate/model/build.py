"""The model of a trial, by its architecture."""

from ablate.config.trial import TrialConfig
from ablate.model.decoder import Decoder
from ablate.model.encoder_decoder import EncoderDecoder

Model = Decoder | EncoderDecoder


def build_model(trial: TrialConfig, vocabulary: int) -> Model:
    """The trial's model with parameters drawn from its init seed (none are drawn on the meta device)."""
    kind = EncoderDecoder if trial.architecture.kind == "encoder_decoder" else Decoder
    return kind.from_config(trial, vocabulary)
