"""A pipeline on Kubernetes: custom resources for four operators, and what surrounds them."""
