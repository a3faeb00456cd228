"""Code versions of the components that have no registry of their own.

A version is bumped only when its component's numbers change: every trial that used it gets a new id. Tasks, noises,
infill formats and evaluation suites carry their own versions.
"""

CODE_VERSIONS = {"data": 3, "model": 2, "training": 1}
# The layout of the cache's folders, part of their names: a folder of another layout is left alone and made again.
CACHE_FORMAT = 3
