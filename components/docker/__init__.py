"""The components on Docker, one host."""
