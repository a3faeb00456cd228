"""Samples on disk."""

from pathlib import Path

from ablate.evaluation.samples import SampleFile, StoredSample

SAMPLES = [StoredSample("a", 0, "x = 'é\n\u2028'", "end_token"), StoredSample("a", 1, "\ud800", "max_tokens")]


def test_samples_come_back_as_they_were(tmp_path: Path) -> None:
    file = SampleFile(tmp_path / "new" / "samples.jsonl")
    assert file.read() == []
    for sample in SAMPLES:
        file.append([sample])
    assert file.read() == SAMPLES


def test_a_line_that_a_kill_tore_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    SampleFile(path).append(SAMPLES)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        whole = SampleFile(path).read()
        assert whole == SAMPLES[: content[:size].count(b"\n")]
        SampleFile(path).append(SAMPLES[len(whole) :])
        assert path.read_bytes() == content
