"""Dynamic providers: thin over the clients in ``cdc``; each class is importable, its instance empty."""
