"""Native environments."""

NATIVE = {
    "tf/Acrobot-v1": "swing up two links with a motor at their joint",
    "tf/AcrobotNoVel-v1": "the same with hidden velocities",
    "tf/CartPole-v1": "balance a pole on a cart",
    "tf/CartPoleNoVel-v1": "the same with hidden velocities",
    "tf/MountainCar-v0": "drive an underpowered car out of a valley",
    "tf/MountainCarContinuous-v0": "the same with a continuous throttle",
    "tf/MountainCarContinuousNoVel-v0": "that with hidden velocity",
    "tf/MountainCarNoVel-v0": "tf/MountainCar-v0 with hidden velocity",
    "tf/Pendulum-v1": "swing up a pendulum and hold it with a torque",
    "tf/PendulumNoVel-v1": "the same with hidden velocity",
    "tf/Recall-v0": "name the cue that was shown four steps ago",
}
"""Dict from the ids of native environments to what is to be done in them."""
