"""Numbers that may change while an agent learns."""

import keras

Schedule = keras.optimizers.schedules.LearningRateSchedule


def current(coefficient, step):
    """The value at `step` of a number or a Keras schedule."""
    return coefficient(step) if isinstance(coefficient, Schedule) else coefficient
