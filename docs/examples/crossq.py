"""CrossQ: SAC without target networks, whose critics normalise current and next actions in one batch.

    python docs/examples/crossq.py [--env tf/Pendulum-v1] [--env-steps 5000] [--seeds 3]

It prints the return of CrossQ and of SAC for each seed. Bhatt et al., "CrossQ: batch normalization in deep reinforcement
learning for greater sample efficiency and simplicity", 2024, https://arxiv.org/abs/1902.05605.
"""

import argparse
from typing import Any

import keras
import tensorflow as tf

import keras_rl_prob as krp


@keras.saving.register_keras_serializable("examples")
class CrossQ(krp.SAC):
    """`krp.SAC` for continuous actions whose targets are values of the critics themselves."""

    def values_and_targets(self, data: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Values of the batch's actions and of the next ones, from one call in training mode."""
        following = self.sample(data, tf.random.split(data.seed, 2)[0], following=True)
        now = self.critic_inputs(data.observation, self.environment_action(data.action))
        later = self.critic_inputs(data.next_observation, following.action)
        joint = tf.nest.map_structure(lambda x, y: tf.concat([x, y], 0), now, later)
        values, next_values = tf.split(self.critic(joint, training=True), 2)
        next_value = tf.reduce_min(next_values, -1) - self.current_temperature * following.log_density
        return values, data.reward + data.discount * next_value, data.weight > 0.0

    def values(self, critic: keras.Model, data: Any, action: Any, following: bool = False) -> tf.Tensor:
        """Values for the policy's loss, with the moving statistics."""
        return critic(self.critic_inputs(data.observation, action), training=False)

    def parts(self) -> list[krp.learning.Part]:
        """The critics, and in every third gradient step temperature and policy."""
        critics, *others = super().parts()
        return [critics, *(part._replace(period=3) for part in others)]


def normalised_critic(env: Any, width: int = 256, count: int = 2) -> keras.Model:
    """Critics with batch renormalisation, for one Box of observations and one of actions."""
    observation_space, action_space = krp.envs.spaces_of(env)
    inputs = {
        "observation": keras.Input(observation_space.shape, name="observation"),
        "action": keras.Input(action_space.shape, name="action"),
    }

    def normalised(x):
        clipping = {"rmin": 1 / 3, "rmax": 3.0, "dmax": 5.0}
        return keras.layers.BatchNormalization(renorm=True, renorm_clipping=clipping)(x)

    values = []
    for _ in range(count):
        x = normalised(keras.layers.Concatenate()(list(inputs.values())))
        for _ in range(2):
            x = normalised(keras.layers.Dense(width, "relu")(x))
        values.append(keras.layers.Dense(1)(x))
    return keras.Model(inputs, keras.layers.Concatenate()(values))


def main() -> None:
    """Trains CrossQ and SAC with each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="tf/Pendulum-v1")
    parser.add_argument("--env-steps", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    for seed in range(1, args.seeds + 1):
        for make in (lambda: CrossQ(critic=normalised_critic(args.env), target_update=10**9), krp.SAC):
            keras.utils.set_random_seed(seed)
            agent = make()
            agent.compile(keras.optimizers.Adam(1e-3, beta_1=0.5 if isinstance(agent, CrossQ) else 0.9))
            agent.fit(args.env, env_steps=args.env_steps, seed=seed, verbose=0)
            found = agent.evaluate(args.env, episodes=100, return_dict=True, verbose=0)
            print(f"{type(agent).__name__}, seed {seed}: {found['return']:.1f}", flush=True)


if __name__ == "__main__":
    main()
