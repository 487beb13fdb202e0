"""Conversion of units, by exact factors."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from semantic_kernel.functions import kernel_function

from localphi_agents.plugins.bounds import bounds
from localphi_agents.plugins.errors import PluginError

_NAME = {"maxLength": 30}
_DIGITS = 12


@dataclass(frozen=True)
class Unit:
    """value in the kind's base unit = value · factor + offset"""

    kind: str
    name: str
    factor: Fraction
    offset: Fraction = Fraction(0)


def _unit(kind: str, names: str, factor: str | Fraction, offset: str = "0") -> dict[str, Unit]:
    """names: the written form first, then all others, separated by commas."""
    every = [name.strip() for name in names.split(",")]
    unit = Unit(kind, every[0], Fraction(factor), Fraction(offset))
    return dict.fromkeys(every, unit)


_INCH = Fraction("0.0254")
_FOOT = 12 * _INCH
_YARD = 3 * _FOOT
_MILE = 1760 * _YARD
_SEA_MILE = Fraction(1852)
_POUND = Fraction("0.45359237")
_GALLON = 231 * (_INCH * 100) ** 3 / 1000  # of the US, in litres
_IMPERIAL_GALLON = Fraction("4.54609")
_HOUR = Fraction(3600)
_KELVIN_AT_0_C = Fraction("273.15")
_RANKINE = Fraction(5, 9)

_UNITS: dict[str, Unit] = (
    _unit("length", "m, metre, metres, meter, meters", "1")
    | _unit("length", "km, kilometre, kilometres, kilometer, kilometers", "1000")
    | _unit("length", "dm, decimetre, decimetres, decimeter, decimeters", "0.1")
    | _unit("length", "cm, centimetre, centimetres, centimeter, centimeters", "0.01")
    | _unit("length", "mm, millimetre, millimetres, millimeter, millimeters", "0.001")
    | _unit("length", "µm, um, micrometre, micrometres, micrometer, micrometers, micron, microns", "1e-6")
    | _unit("length", "nm, nanometre, nanometres, nanometer, nanometers", "1e-9")
    | _unit("length", "in, inch, inches", _INCH)
    | _unit("length", "ft, foot, feet", _FOOT)
    | _unit("length", "yd, yard, yards", _YARD)
    | _unit("length", "mi, mile, miles", _MILE)
    | _unit("length", "nmi, nautical mile, nautical miles, sea mile, sea miles", _SEA_MILE)
    | _unit("mass", "kg, kilogram, kilograms, kilo, kilos", "1")
    | _unit("mass", "g, gram, grams", "0.001")
    | _unit("mass", "mg, milligram, milligrams", "1e-6")
    | _unit("mass", "µg, ug, microgram, micrograms", "1e-9")
    | _unit("mass", "t, tonne, tonnes, metric ton, metric tons", "1000")
    | _unit("mass", "lb, lbs, pound, pounds", _POUND)
    | _unit("mass", "oz, ounce, ounces", _POUND / 16)
    | _unit("mass", "st, stone, stones", 14 * _POUND)
    | _unit("mass", "short ton, short tons, us ton, us tons", 2000 * _POUND)
    | _unit("mass", "long ton, long tons, imperial ton, imperial tons", 2240 * _POUND)
    | _unit("temperature", "K, kelvin", "1")
    | _unit("temperature", "°C, C, celsius, degrees celsius", "1", "273.15")
    | _unit(
        "temperature",
        "°F, F, fahrenheit, degrees fahrenheit",
        _RANKINE,
        str(_KELVIN_AT_0_C - 32 * _RANKINE),
    )
    | _unit("volume", "l, L, litre, litres, liter, liters, dm3, dm³", "1")
    | _unit("volume", "ml, mL, millilitre, millilitres, milliliter, milliliters, cm3, cm³", "0.001")
    | _unit("volume", "cl, cL, centilitre, centilitres, centiliter, centiliters", "0.01")
    | _unit("volume", "dl, dL, decilitre, decilitres, deciliter, deciliters", "0.1")
    | _unit("volume", "m³, m3, cubic metre, cubic metres, cubic meter, cubic meters", "1000")
    | _unit("volume", "gal, gallon, gallons, us gallon, us gallons", _GALLON)
    | _unit("volume", "qt, quart, quarts", _GALLON / 4)
    | _unit("volume", "pt, pint, pints, us pint, us pints", _GALLON / 8)
    | _unit("volume", "cup, cups", _GALLON / 16)
    | _unit("volume", "fl oz, fluid ounce, fluid ounces", _GALLON / 128)
    | _unit("volume", "tbsp, tablespoon, tablespoons", _GALLON / 256)
    | _unit("volume", "tsp, teaspoon, teaspoons", _GALLON / 768)
    | _unit("volume", "imperial gallon, imperial gallons, uk gallon, uk gallons", _IMPERIAL_GALLON)
    | _unit("volume", "imperial pint, imperial pints, uk pint, uk pints", _IMPERIAL_GALLON / 8)
    | _unit("speed", "m/s, metres per second, meters per second", "1")
    | _unit("speed", "km/h, kmh, kph, kilometres per hour, kilometers per hour", 1000 / _HOUR)
    | _unit("speed", "mph, mi/h, miles per hour", _MILE / _HOUR)
    | _unit("speed", "kn, kt, knot, knots", _SEA_MILE / _HOUR)
    | _unit("speed", "ft/s, feet per second", _FOOT)
    | _unit("area", "m², m2, square metre, square metres, square meter, square meters", "1")
    | _unit("area", "km², km2, square kilometre, square kilometres, square kilometer, square kilometers",
            "1e6")
    | _unit("area", "cm², cm2, square centimetre, square centimetres, square centimeter, square centimeters",
            "1e-4")
    | _unit("area", "mm², mm2, square millimetre, square millimetres, square millimeter, square millimeters",
            "1e-6")
    | _unit("area", "ha, hectare, hectares", "10000")
    | _unit("area", "acre, acres", 4840 * _YARD**2)
    | _unit("area", "in², in2, sq in, square inch, square inches", _INCH**2)
    | _unit("area", "ft², ft2, sq ft, square foot, square feet", _FOOT**2)
    | _unit("area", "yd², yd2, sq yd, square yard, square yards", _YARD**2)
    | _unit("area", "mi², mi2, sq mi, square mile, square miles", _MILE**2)
    | _unit("data", "B, byte, bytes", "1")
    | _unit("data", "bit, bits, b", Fraction(1, 8))
    | _unit("data", "kB, KB, kilobyte, kilobytes", "1e3")
    | _unit("data", "MB, megabyte, megabytes", "1e6")
    | _unit("data", "GB, gigabyte, gigabytes", "1e9")
    | _unit("data", "TB, terabyte, terabytes", "1e12")
    | _unit("data", "PB, petabyte, petabytes", "1e15")
    | _unit("data", "KiB, kibibyte, kibibytes", Fraction(2**10))
    | _unit("data", "MiB, mebibyte, mebibytes", Fraction(2**20))
    | _unit("data", "GiB, gibibyte, gibibytes", Fraction(2**30))
    | _unit("data", "TiB, tebibyte, tebibytes", Fraction(2**40))
    | _unit("data", "kbit, kilobit, kilobits", Fraction(10**3, 8))
    | _unit("data", "Mbit, Mb, megabit, megabits", Fraction(10**6, 8))
    | _unit("data", "Gbit, Gb, gigabit, gigabits", Fraction(10**9, 8))
)  # fmt: skip

_NOT_BELOW_ZERO = {"mass", "volume", "area", "data"}
_LARGEST = 1e30


def _without_case() -> dict[str, Unit]:
    """Names that mean the same unit in whatever case: km and KM, but not mb, which may be Mb or MB."""
    meant: dict[str, set[Unit]] = {}
    for name, unit in _UNITS.items():
        meant.setdefault(name.lower(), set()).add(unit)
    return {name: units.pop() for name, units in meant.items() if len(units) == 1}


_WITHOUT_CASE = _without_case()


class Units:
    """Converts lengths, masses, temperatures, volumes, speeds, areas and amounts of data.

    Factors are exact and the arithmetic is done in fractions; a result that does not end within 12 digits is
    rounded, and says so. Gallons, pints and cups are those of the US; "imperial gallon" and "imperial pint"
    are there, too. kB is 1000 bytes, KiB 1024.
    """

    @bounds(from_unit=_NAME, to_unit=_NAME)
    @kernel_function
    def convert(
        self,
        value: Annotated[float, "The number to convert"],
        from_unit: Annotated[str, "Unit of the number, like km, lb, °C, l, mph, m², MB"],
        to_unit: Annotated[str, "Unit that is wanted, like mi, kg, °F, gal, km/h, acre, MiB"],
    ) -> Annotated[str, "The converted number with its unit"]:
        """Convert a number from one unit to another: length, mass, temperature, volume, speed, area, data."""
        source, target = _find(from_unit), _find(to_unit)
        if source.kind != target.kind:
            raise PluginError(
                f"{source.name} is a unit of {source.kind} and {target.name} one of {target.kind}; "
                "one cannot be converted into the other."
            )
        if not math.isfinite(value) or abs(value) > _LARGEST:
            raise PluginError(f"A number up to 1e30 is wanted, but {value} came.")
        given = Fraction(str(value))  # 0.1 is meant as one tenth, not as the binary number next to it
        base = given * source.factor + source.offset
        if base < 0 and (source.kind == "temperature" or source.kind in _NOT_BELOW_ZERO):
            lowest = "absolute zero" if source.kind == "temperature" else "zero"
            raise PluginError(f"{_written(given)[0]} {source.name} is below {lowest}.")
        number, exact = _written((base - target.offset) / target.factor)
        return f"{_written(given)[0]} {source.name} = {number} {target.name}" + (
            "" if exact else " (rounded)"
        )


def _find(name: str) -> Unit:
    asked = " ".join(name.split())
    unit = _UNITS.get(asked) or _WITHOUT_CASE.get(asked.lower())
    if unit is None:
        raise PluginError(f"There is no unit {asked[:40]!r}. {_advice(asked.lower())}")
    return unit


def _advice(asked: str) -> str:
    other_case = [name for name in _UNITS if name.lower() == asked]
    near = other_case or difflib.get_close_matches(asked, _UNITS, n=3)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"There are {', '.join(dict.fromkeys(unit.name for unit in _UNITS.values()))}."


def _written(value: Fraction) -> tuple[str, bool]:
    """The number, and whether it is exact."""
    if value.denominator == 1 and abs(value) < 10**18:
        return str(value.numerator), True
    text = f"{float(value):.{_DIGITS}g}"
    return text, Fraction(text) == value
