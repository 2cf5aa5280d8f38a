"""The prod stack's manifests against a real Kubernetes API server."""
