import pytest
import tiny_pipelines as tiny


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A tiny Stable Diffusion pipeline on disk, as a user would have one."""
    folder = tmp_path_factory.mktemp("models") / "tiny-sd"
    tiny.sd().save_pretrained(folder)
    return str(folder)
