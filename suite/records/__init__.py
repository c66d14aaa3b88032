"""Records: what a run writes down, one self-describing row a measurement.

`read` gives the rows of a run, validated.
"""

from suite.records.file import read

__all__ = ["read"]
