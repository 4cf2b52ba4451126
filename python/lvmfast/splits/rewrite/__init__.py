"""Rows of files into other files of the same format: each row to one target or to none, in order."""

from lvmfast.splits.rewrite.formats import common_format, rewrite

__all__ = ["common_format", "rewrite"]
