"""`xmod-extend info`: what is in a checkpoint, without loading it."""

from __future__ import annotations

import dataclasses

from rich.table import Table

from xmod_extend.cli import shared
from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.output import Output, num_bytes
