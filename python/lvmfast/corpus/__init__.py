"""READ: files, folders and arrays become a `Dataset` that streams `Batch`es of rows."""
