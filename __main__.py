"""The program that Pulumi runs: settings -> pipeline -> exports."""

import pulumi

from components.pipeline import Pipeline
from components.settings import Settings, SettingsError


def main() -> None:
    """Deploy the stack that Pulumi selected."""
    try:
        pipeline = Pipeline("cdc", settings=Settings.load())
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None
    for name, value in pipeline.outputs.items():
        pulumi.export(name, value)


main()
