"""CHECK: the levels of a scan, the engine that runs them, and what they find."""
