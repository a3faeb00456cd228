"""The model of a trial, by its architecture."""

import torch

from ablate.config.trial import TrialConfig
from ablate.model.decoder import Decoder
from ablate.model.encoder_decoder import EncoderDecoder

Model = Decoder | EncoderDecoder


def build_model(trial: TrialConfig, vocabulary: int) -> Model:
    """Build the trial's model and draw its parameters; see `LanguageModel.from_config`."""
    model = EncoderDecoder if trial.architecture.has_encoder else Decoder
    return model.from_config(trial, vocabulary)


def build_on_meta(trial: TrialConfig) -> Model:
    """Build a trial's whole model without allocating its weights."""
    with torch.device("meta"):
        return build_model(trial, trial.tokenizer.vocab_size)
