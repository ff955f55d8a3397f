"""Numbers that belong together, as immutable objects; numbers that change while an agent learns, as Keras schedules."""

import dataclasses
from typing import Any, ClassVar, Self

import keras
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule as Schedule


def current(coefficient: float | Schedule, step: tf.Tensor) -> float | tf.Tensor:
    """The value at `step` of a number or a Keras schedule."""
    return coefficient(step) if isinstance(coefficient, Schedule) else coefficient


class Settings:
    """Base of arguments that are groups of numbers: immutable, compared by value, saved with what holds them.

    A subclass is a frozen dataclass, registered with `keras.saving.register_keras_serializable`, and says in `checked` what its
    numbers may be.

    Example:
    ```python
    @keras.saving.register_keras_serializable("mine")
    @dataclasses.dataclass(frozen=True)
    class Anneal(Settings):
        start: float = 1.0

        def checked(self):
            return {"start": checks.fraction("start", self.start)}
    ```
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]  # a subclass is a dataclass
    plain: ClassVar[str | None] = None
    """The field that an argument may give in the place of the whole object, if there is one."""

    def __post_init__(self) -> None:
        for name, value in self.checked().items():
            object.__setattr__(self, name, value)  # the class may be frozen

    def checked(self) -> dict[str, Any]:
        """A dict of the fields that were checked, as they are kept; raises a `ValueError` that names a wrong one."""
        return {}

    @classmethod
    def of(cls, value: Any) -> Self:
        """`value` as an object of this class, which it is or of which it is the plain field."""
        return value if isinstance(value, cls) else cls(**{str(cls.plain): value})

    @classmethod
    def moved(cls) -> dict[str, Any]:
        """Dict from the fields that were arguments of agents before, all but the plain one, to their defaults."""
        return {field.name: field.default for field in dataclasses.fields(cls) if field.name != cls.plain}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            field.name: keras.saving.serialize_keras_object(getattr(self, field.name))
            for field in dataclasses.fields(self)
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The object that `get_config` described."""
        return cls(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})
