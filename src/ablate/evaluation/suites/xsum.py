"""XSum (Narayan et al. 2018): the one-sentence summary of a news article.

Bits per byte of the reference and not ROUGE of a generated summary: small models write nothing that ROUGE could rank.
"""

from collections.abc import Iterator

from ablate.evaluation.benchmark_file import HubSplit, Rows
from ablate.evaluation.question_suite import continuation_metrics, question_suite
from ablate.evaluation.questions import Question


def articles(rows: Rows) -> Iterator[Question]:
    """Yield a question per article, whose answer is the reference summary."""
    for row in rows:
        yield Question(f"XSum/{row['id']}", f"{row['document']}\nSummary:", (f" {row['summary']}",))


xsum = question_suite(
    "xsum",
    "Score the reference summaries of articles.",
    articles,
    HubSplit("EdinburghNLP/xsum", "test"),
    # No model writes a reference to the last token.
    continuation_metrics("xsum", "the reference summary of an XSum article, given the article")[:1],
)
