"""SHOW: what a scan found, as JSON, parquet, a table on a terminal and one line for a log."""
