"""A seed gives the same training on any number of cores: bit by bit, or but for the order of large sums.

With layers of 64 units and more than some 512 rows, XLA divides the sum over the rows, `x.T @ gradient`, among cores.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import os, sys
os.sched_setaffinity(0, map(int, sys.argv[4:]))  # before TensorFlow counts the cores
import keras, numpy, keras_rl_prob as krp
keras.utils.set_random_seed(0)
agent = getattr(krp, sys.argv[2])()
agent.compile()
agent.fit("tf/CartPole-v1", epochs=1, steps_per_epoch=64, num_envs=int(sys.argv[3]), seed=0, verbose=0)
numpy.save(sys.argv[1], numpy.concatenate([weight.ravel() for weight in agent.get_weights()]))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
@pytest.mark.parametrize(
    ("agent", "num_envs", "tolerance"),
    [
        ("RecurrentPPO", 8, 0.0),
        pytest.param("RecurrentPPO", 64, 1e-6, marks=pytest.mark.long),
        pytest.param("PPO", 16, 0.0, marks=pytest.mark.long),  # minibatches of 512 rows
        pytest.param("PPO", 64, 1e-6, marks=pytest.mark.long),
        pytest.param("DQN", 8, 0.0, marks=pytest.mark.long),
    ],
)
def test_one_core_and_several_give_the_same_training(agent, num_envs, tolerance, tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        pytest.skip("there is one core")
    # as in other programs, not as in these tests
    usual = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS")}
    files = [tmp_path / "one.npy", tmp_path / "all.npy"]
    processes = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, file, agent, str(num_envs), *map(str, used)], env=usual)
        for file, used in zip(files, (cores[:1], cores), strict=True)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    one, several = map(np.load, files)
    np.testing.assert_allclose(one, several, rtol=0.0, atol=tolerance)
