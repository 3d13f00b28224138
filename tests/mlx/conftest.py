"""Models that several tests of this folder read; nobody writes to them."""

import pytest
from support import CONFIGS, random_weights, write_model


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """Random bf16 models by architecture, each written once."""
    folder = tmp_path_factory.mktemp("sources")
    made = {}

    def source(kind):
        if kind not in made:
            config = CONFIGS[kind]
            # Three files for one of them: shards are read, too.
            made[kind] = write_model(
                folder / kind, config, random_weights(config), files=3 if kind == "qwen3" else 1
            )
        return made[kind]

    return source
