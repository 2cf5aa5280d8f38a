"""What no stack may contain: rules over its resources, checked by tests, before a preview and before an update."""
