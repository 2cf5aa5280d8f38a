"""A ClickHouse server around chDB, the ClickHouse engine as a library: HTTP, native protocol, users and metrics."""
