"""Groups of hyperparameters as immutable objects; hyperparameters that change during training as Keras schedules."""

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import keras
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule as Schedule


def current(coefficient: float | Schedule, step: tf.Tensor) -> float | tf.Tensor:
    """Returns the value of a number or a Keras schedule at `step`."""
    return coefficient(step) if isinstance(coefficient, Schedule) else coefficient


class Numbers:
    """Floats that graphs read from variables, so that graphs which differ by such numbers alone are the same for XLA.

    It compiles one of them, and finds the others in its cache, in the same process and in later ones.

    Args:
        values: Arguments of any kind, of which the floats count, and those in `Settings`. Others stay constants of graphs:
            variables must exist before a graph is made.

    Example:
    >>> numbers = Numbers([0.5, "stored"])
    >>> float(tf.function(lambda x: x * numbers.read(0.5), jit_compile=True)(4.0))
    2.0
    """

    def __init__(self, values: Iterable[Any]) -> None:
        options = {"trainable": False, "dtype": tf.float32, "name": "number"}
        self._variables = {number: tf.Variable(number, **options) for number in set(_floats(values))}

    def read(self, number: float) -> float | tf.Tensor:
        """Returns a number as a float32 scalar; in eager mode, where nothing is compiled, as it is."""
        if tf.executing_eagerly() or number not in self._variables:
            return number
        return self._variables[number].read_value()


def _floats(values):
    for value in values:
        if isinstance(value, float):
            yield value
        elif isinstance(value, Settings):
            yield from _floats(vars(value).values())


def written(kind: type, values: Mapping[str, Any], *positional: Any) -> str:
    """The call of a constructor with those of the arguments that differ from their defaults.

    Args:
        kind: The class.
        values: Dict from the names of arguments to their values; others are left out.
        *positional: Arguments that are shown first, without their names.

    Example:
    >>> written(keras.optimizers.schedules.PolynomialDecay, {"initial_learning_rate": 1.0, "decay_steps": 9, "power": 1.0})
    'PolynomialDecay(initial_learning_rate=1.0, decay_steps=9)'
    """
    makers = [vars(one)["__init__"] for one in reversed(kind.__mro__) if inspect.isfunction(vars(one).get("__init__"))]
    defaults = {name: p.default for maker in makers for name, p in inspect.signature(maker).parameters.items()}
    texts = [(name, _text(value), _text(defaults.get(name))) for name, value in values.items()]
    named = [f"{name}={text}" for name, text, default in texts if text != default]
    return f"{kind.__name__}({', '.join([*map(_text, positional), *named])})"


def _text(value):
    if isinstance(value, Schedule):
        return written(type(value), {name: x for name, x in value.get_config().items() if name != "name"})
    plain = type(value).__repr__ in (keras.layers.Layer.__repr__, keras.Model.__repr__)
    return f"<{type(value).__name__} {value.name}>" if plain else repr(value)


class Settings:
    """Base class of arguments that are groups of hyperparameters: immutable, compared by value, serializable.

    A subclass is a frozen dataclass, registered with `keras.saving.register_keras_serializable`, and checks its fields in
    `checked`.

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
    """The field that may be passed instead of the whole object, or `None`."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "__repr__" not in vars(cls):  # else `dataclass` makes one that shows all fields
            cls.__repr__ = Settings.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        return written(type(self), {field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    def __post_init__(self) -> None:
        for name, value in self.checked().items():
            object.__setattr__(self, name, value)  # dataclasses may be frozen

    def checked(self) -> dict[str, Any]:
        """Checks the fields; returns a dict of the values to store, or raises a `ValueError` that names the wrong field."""
        return {}

    @classmethod
    def of(cls, value: Any) -> Self:
        """Returns `value` if it is an object of this class, else an object with `value` as its plain field."""
        return value if isinstance(value, cls) else cls(**{str(cls.plain): value})

    @classmethod
    def moved(cls) -> dict[str, Any]:
        """Dict from fields that earlier versions had as arguments of agents, all but the plain one, to their defaults."""
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
