"""What the page may ask for, each request with its bounds: whatever is not of this form is refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Word = Annotated[str, Field(max_length=300)]
Point = Annotated[int, Field(ge=0, lt=2**31)]
Float = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Z = Annotated[list[Float], Field(min_length=1, max_length=65_536)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Asked(BaseModel):
    """Every request names a run."""

    model_config = ConfigDict(extra="forbid", strict=True)
    run: Word


class Conditioned(Asked):
    """What is decoded, by the values of conditions, or by those that an example has."""

    given: Annotated[dict[Word, Word], Field(max_length=100)] = {}
    like: Point | None = None
    seed: Seed = 0


class Some(Asked):
    """The points of the map from ``have`` on."""

    have: Point = 0


class Column(Asked):
    """A column of the points."""

    column: Word


class Value(Column):
    """An attribute: a column and one of its values; of numbers, ``above`` the median."""

    value: Word = ""


class One(Asked):
    """A point."""

    point: Point


class Place(Conditioned):
    """A place of the map, on the plane through the latent of a point, or that through the middle of all."""

    x: Float
    y: Float
    through: Point | None = None


class Decode(Conditioned):
    """A latent."""

    z: Z


class Route(Conditioned):
    """A way through two latents or more."""

    through: Annotated[list[Z], Field(min_length=2, max_length=12)]
    steps: Annotated[int, Field(ge=2, le=24)] = 8
    kind: Literal["linear", "spherical"] = "spherical"


class Near(Asked):
    """The neighbours of a latent, or of a point."""

    z: Z | None = None
    point: Point | None = None
    k: Annotated[int, Field(ge=1, le=24)] = 8


class Drawn(Conditioned):
    """New examples."""

    n: Annotated[int, Field(ge=1, le=64)] = 16
    temperature: Annotated[float, Field(ge=0, le=10)] | None = None


class Fill(One):
    """A point of which some values, by their places on what is painted, are missing."""

    missing: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=150_000)]
    n: Annotated[int, Field(ge=1, le=8)] = 4
    seed: Seed = 0


class Redraw(One):
    """A point, and the seed of what is drawn anew."""

    seed: Seed = 0


class Coded(One):
    """A point, in whose codes some were changed."""

    codes: Annotated[list[Annotated[int, Field(ge=-1, lt=2**31)]], Field(max_length=65_536)] = []


class Beside(One):
    """A point, as another run sees it."""

    other: Word


class Own(Conditioned):
    """Texts of the user's own."""

    texts: Annotated[list[Annotated[str, Field(max_length=20_000)]], Field(min_length=1, max_length=1)]


class Curves(Asked):
    """The records of a training."""
