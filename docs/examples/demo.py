"""`make demo`: an agent learns to balance a pole without observing velocities, in under a minute."""

import argparse
import os
import pathlib
import sys

os.environ |= {"SDL_VIDEODRIVER": "dummy", "MPLBACKEND": "agg"}

import keras_rl_prob as krp  # isort: skip  # before Keras, to silence TensorFlow

import keras

from keras_rl_prob.callbacks import PlotLearningCurve, RolloutHistograms, RunLog, record_episode

ENV = "krp/CartPoleNoVel-v1"


def main():
    """Trains, evaluates over 100 episodes, and writes the agent, logs for TensorBoard, a plot and a video to the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/demo"), help="default: runs/demo")
    parser.add_argument("--epochs", type=int, default=10, help="default: 10, of 40,960 environment steps each")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(args.seed)

    best = args.folder / "best.keras"
    updates = args.epochs * 10 * 16
    agent = krp.RecurrentPPO()
    agent.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.PolynomialDecay(1e-3, updates, 1e-4), epsilon=1e-5, global_clipnorm=0.5
        )
    )
    agent.fit(
        ENV,
        epochs=args.epochs,
        validation_data=ENV,
        callbacks=[
            keras.callbacks.ModelCheckpoint(best, monitor="val_return", mode="max", save_best_only=True),
            RunLog(args.folder / "log.csv"),
            keras.callbacks.TensorBoard(args.folder / "tensorboard"),
            RolloutHistograms(args.folder / "tensorboard" / "rollouts"),
            PlotLearningCurve(args.folder / "curve.png", title=f"RecurrentPPO on {ENV}", log=args.folder / "log.csv"),
        ],
    )

    agent = keras.saving.load_model(best)
    print(f"\n{best}, 100 episodes of {ENV}:")
    result = agent.evaluate(ENV, episodes=100, return_dict=True)
    print(f"mean return {result['return']:.1f}, mean length {result['length']:.1f}")
    record_episode(agent, ENV, args.folder / "episode.mp4")
    record_episode(agent, ENV, args.folder / "episode.gif")
    print(f"See {args.folder / 'curve.png'} and {args.folder / 'episode.mp4'}, and at")
    print(f"{pathlib.Path(sys.executable).with_name('tensorboard')} --logdir {args.folder}")


if __name__ == "__main__":
    main()
