"""The types of the public API, as mypy sees them in a user's script that finds the package through `py.typed`."""

import os
import pathlib
import re
import subprocess
import sys

import keras_rl_prob

CONFIG = """[mypy]
strict = true
disallow_subclassing_any = false
{}
""".format("\n".join(f"[mypy-{library}.*]\nignore_missing_imports = true" for library in ("keras", "tensorflow")))
RIGHT = '''
import gymnasium
import keras

import keras_rl_prob as krp


class Target(keras.callbacks.Callback):
    """Stops when the return is high enough."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs is not None and logs["return"] > 475.0:
            self.model.stop_training = True


def network(env: str) -> keras.Model:
    observation_space, action_space = krp.envs.factory.spaces_of(env)
    inputs, features = krp.networks.encoder(observation_space)
    x = krp.layers.StatefulRNN(keras.layers.GRUCell(32))(features)
    outputs = {"action": krp.networks.heads(action_space, x), "value": keras.layers.Dense(1)(x)}
    return keras.Model(inputs, outputs)


agent = krp.PPO(network("CartPole-v1"), minibatches=krp.Minibatches(4, sequence_length=16), clip_ratio=krp.Clipping(0.1))
agent.compile(keras.optimizers.Adam(3e-4, global_clipnorm=0.5), jit_compile=False)
history = agent.fit("CartPole-v1", epochs=2, num_envs=8, seed=0, validation_data="CartPole-v1", callbacks=[Target()])
score: float = agent.evaluate("CartPole-v1", episodes=10, return_dict=True)["return"]
mean, length = agent.evaluate(gymnasium.make("CartPole-v1"), max_steps=500)
policy = agent.policy(num_envs=8, deterministic=False)
policy.reset()
action = policy([[0.0, 0.0, 0.0, 0.0]] * 8)
agent.save("agent.keras")
memory = krp.ReplaySettings(capacity=50_000, n_step=3, prioritized=krp.PrioritizedReplay(beta=0.5))
schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 10_000, 0.05)
dqn = krp.DQN(double=True, exploration=krp.EpsilonGreedy(schedule), replay=memory)
log = krp.callbacks.RunLog("log.csv")
dqn.fit(lambda: krp.envs.FrameDelta(gymnasium.make("CartPole-v1")), steps_per_epoch=160, callbacks=[log])
dqn.add_experience(krp.envs.record_episodes("CartPole-v1", agent.policy(), episodes=3))
'''  # fmt: skip
WRONG = """
import keras_rl_prob as krp

agent = krp.PPO(rollout_steps="x")
agent.fit("CartPole-v1", epochs="3")
agent.fit(3)
agent.evaluate("CartPole-v1", return_dict=True)["return"].foo
agent.evaluate("CartPole-v1")["return"]
krp.PPO(minibatches=krp.Clipping(0.1))
krp.ReplaySettings(capacity="many")
krp.DQN(capacity=1000)
krp.callbacks.EvaluateReturn("CartPole-v1", evry=2)
"""


def checked(folder, **scripts):
    """What mypy says of scripts: pairs of the name and the line, and the whole text."""
    (folder / "mypy.ini").write_text(CONFIG)
    for name, source in scripts.items():
        (folder / f"{name}.py").write_text(source)
    arguments = ["--config-file", "mypy.ini", "--cache-dir", "cache", *(f"{name}.py" for name in scripts)]
    path = str(pathlib.Path(keras_rl_prob.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "MYPYPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    lines = re.findall(r"^(\w+)\.py:(\d+): error", done.stdout, re.MULTILINE)
    return [(name, int(line)) for name, line in lines], done.stdout


def test_a_users_script_has_the_right_types_and_a_wrong_one_is_found(tmp_path):
    found, text = checked(tmp_path, right=RIGHT, wrong=WRONG)
    lines = WRONG.splitlines()
    wrong = [i for i, line in enumerate(lines, 1) if line and not line.startswith("import")]
    assert found == [("wrong", line) for line in wrong], text
