"""HOW a running pipeline is worked: clients and verbs that never import Pulumi."""
