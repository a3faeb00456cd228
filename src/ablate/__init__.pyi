from pathlib import Path

from ablate.api import Ledger as Ledger
from ablate.api import ladder as ladder
from ablate.api import lesson as lesson

__version__: str
CONF: Path
