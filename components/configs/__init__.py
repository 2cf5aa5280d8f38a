"""Pure builders of configuration: no Pulumi, so that each is tested by calling it."""
