"""A training that was cut short and resumed by `BackupAndRestore` ends bit-identical to one that was not."""

import keras
import numpy as np
import pytest

import keras_rl_prob as krp

ENV = "tf/CartPoleNoVel-v1"


class Cut(keras.callbacks.Callback):
    """Ends the training in the middle of an epoch, as a crash would."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.now = epoch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch > 5:
            raise RuntimeError("power cut")


def run(callbacks, env=ENV, num_envs=8, seed=1, units=8):
    """A fresh process' worth of training: new agent, new environments; the seed of the interrupted run differs on purpose."""
    keras.utils.set_random_seed(seed)
    network = krp.networks.recurrent(env, units=units)
    agent = krp.RecurrentPPO(
        network,
        rollout_steps=16,
        minibatches=2,
        update_epochs=2,
        normalize_observations=True,
        kl_penalty=krp.KLPenalty(),
    )
    agent.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    agent.build(env)
    agent.fit(env, epochs=4, steps_per_epoch=8, num_envs=num_envs, verbose=0, callbacks=callbacks)
    return agent


def state(agent):
    return [variable.numpy() for variable in (*agent.weights, *agent.optimizer.variables)]


def test_resumed_training_is_bit_identical(tmp_path):
    whole = run([])
    with pytest.raises(RuntimeError, match="power cut"):
        run([keras.callbacks.BackupAndRestore(tmp_path / "backup"), Cut(2)])
    resumed = run([keras.callbacks.BackupAndRestore(tmp_path / "backup")], seed=99)
    assert resumed.history.epoch == [2, 3]
    for variable, a, b in zip(whole.weights, state(whole), state(resumed), strict=False):
        assert np.array_equal(a, b), variable.path
    assert all(np.array_equal(a, b) for a, b in zip(state(whole), state(resumed), strict=True))
    assert {k: v[2:] for k, v in whole.history.history.items()} == resumed.history.history


def test_a_backup_of_another_number_of_environments_or_network_is_refused(tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
    run([backup])
    with pytest.raises(ValueError, match="other environments or another `num_envs`"):
        run([backup], num_envs=4)
    with pytest.raises(ValueError, match="could not be loaded"):
        run([backup], units=4)


def test_with_python_environments_all_but_their_insides_is_restored(tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        run([keras.callbacks.BackupAndRestore(tmp_path / "backup"), Cut(2)], "krp/CartPoleNoVel-v1")
    resumed = run([keras.callbacks.BackupAndRestore(tmp_path / "backup")], "krp/CartPoleNoVel-v1")
    assert int(resumed.optimizer.iterations.numpy()) == 32
    assert int(resumed.env_steps.numpy()) > 3.5 * 2 * 8 * 16
