"""Other places than this process where the streamed side of a scan is read: `ray` has a cluster."""
