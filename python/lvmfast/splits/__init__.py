"""ACT: what mends a leak: quarantine."""
