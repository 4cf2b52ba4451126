"""`lvmfast review`: a place on this machine where people decide which matches of a saved scan are real."""
