"""WHAT is deployed: settings, names, components per platform and the dynamic providers."""
