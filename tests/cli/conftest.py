"""An experiment of two runs, trained once, that the tests of all commands use."""

import shutil

import pytest


@pytest.fixture(scope="session")
def experimented(tmp_path_factory):
    """The folder of an experiment with the seeds 4 and 5; not to be changed."""
    from cli_run import TINY, only

    from keras_rl_prob.cli import main

    logdir = tmp_path_factory.mktemp("experiment")
    command = ["experiment", "--config", "cartpole", "--seed", "4", "--seeds", "2", "--epochs", "3", "--episodes", "4"]
    assert main([*command, "--logdir", str(logdir), *TINY]) == 0
    return only(logdir)


@pytest.fixture(scope="session")
def finished(experimented):
    """A complete run of three epochs; not to be changed."""
    return experimented / "seed_5"


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the run, which tests may change."""
    return shutil.copytree(finished, tmp_path / "run")
