"""Conversions, against values that are defined."""

from __future__ import annotations

import pytest

from localphi_agents.plugins import PluginError, Units


@pytest.mark.parametrize(
    ("value", "source", "target", "result"),
    [
        (1, "in", "cm", "1 in = 2.54 cm"),
        (1, "mile", "kilometers", "1 mi = 1.609344 km"),
        (5, "km", "mi", "5 km = 3.10685596119 mi (rounded)"),
        (0.1, "m", "cm", "0.1 m = 10 cm"),
        (6, "feet", "m", "6 ft = 1.8288 m"),
        (1, "nautical mile", "m", "1 nmi = 1852 m"),
        (1, "lb", "g", "1 lb = 453.59237 g"),
        (11, "stone", "kg", "11 st = 69.85322498 kg"),
        (100, "C", "F", "100 °C = 212 °F"),
        (-40, "fahrenheit", "degrees celsius", "-40 °F = -40 °C"),
        (0, "K", "°C", "0 K = -273.15 °C"),
        (98.6, "°f", "°c", "98.6 °F = 37 °C"),
        (1, "gallon", "l", "1 gal = 3.785411784 l"),
        (1, "imperial gallon", "litres", "1 imperial gallon = 4.54609 l"),
        (2, "cups", "ml", "2 cup = 473.176473 ml"),
        (1, "m3", "l", "1 m³ = 1000 l"),
        (36, "km/h", "m/s", "36 km/h = 10 m/s"),
        (60, "mph", "km/h", "60 mph = 96.56064 km/h"),
        (1, "acre", "m²", "1 acre = 4046.8564224 m²"),
        (1, "sq ft", "square meters", "1 ft² = 0.09290304 m²"),
        (1, "GiB", "MB", "1 GiB = 1073.741824 MB"),
        (1, "MB", "Mb", "1 MB = 8 Mbit"),
        (3, "KM", "M", "3 km = 3000 m"),
        (1, "TB", "bits", "1 TB = 8000000000000 bit"),
        (1e30, "km", "nm", "1e+30 km = 1e+42 nm"),
    ],
)
def test_units_are_converted(value: float, source: str, target: str, result: str) -> None:
    assert Units().convert(value, source, target) == result


@pytest.mark.parametrize(
    ("value", "source", "target", "said"),
    [
        (1, "kg", "m", "kg is a unit of mass and m one of length"),
        (1, "parsec", "m", "There is no unit 'parsec'"),
        (1, "kilometrs", "m", "Did you mean kilometr"),
        (1, "mb", "kB", "Did you mean MB or Mb"),
        (1, "", "m", "There is no unit ''. There are m, km"),
        (1, "x" * 500, "m", "There is no unit"),
        (-300, "°C", "K", "-300 °C is below absolute zero"),
        (-1, "kg", "g", "-1 kg is below zero"),
        (float("nan"), "m", "km", "up to 1e30 is wanted, but nan came"),
        (float("inf"), "m", "km", "but inf came"),
        (1e300, "km", "nm", "up to 1e30"),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(value: float, source: str, target: str, said: str) -> None:
    with pytest.raises(PluginError, match=said) as refused:
        Units().convert(value, source, target)
    assert "\n" not in str(refused.value)
