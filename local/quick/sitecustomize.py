"""Packages functions with fast compression: SAM would spend most of a local deployment on compressing debug builds.

Python imports this file at its start if its folder is in PYTHONPATH (Python manual, "site").
"""

import zlib

# `zipfile` reads it for each file that it compresses.
zlib.Z_DEFAULT_COMPRESSION = zlib.Z_BEST_SPEED
