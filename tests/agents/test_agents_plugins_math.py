"""Arithmetic as models write it, and what must not happen whatever they write."""

from __future__ import annotations

import time

import pytest

from localphi_agents.plugins import Math, PluginError


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("2 + 3 * 4", "14"),
        ("(2 + 3) * 4", "20"),
        ("-2 ** 2", "-4"),
        ("2 ^ 10", "1024"),
        ("7 // 2", "3"),
        ("7 % 3", "1"),
        ("7 / 2", "3.5"),
        ("6 / 3", "2"),
        ("0.1 + 0.2", "0.3"),
        ("2 ** -1", "0.5"),
        ("2 ** 100", "1267650600228229401496703205376"),
        ("(-1) ** 1000001", "-1"),
        ("0 ** 99999", "0"),
        ("3 × 4 ÷ 2 − 1", "5"),
        ("sqrt(2)", "1.4142135623731"),
        ("round(2.567, 2)", "2.57"),
        ("round(2.4)", "2"),
        ("max(1, 2.5, 2)", "2.5"),
        ("factorial(20)", "2432902008176640000"),
        ("gcd(12, 18) + lcm(4, 6)", "18"),
        ("sin(radians(30))", "0.5"),
        ("pi", "3.14159265358979"),
        (" 1_000 * 2\n", "2000"),
        ("1e300 * 1e-300", "1"),
    ],
)
def test_expressions_are_calculated(expression: str, result: str) -> None:
    assert Math().calculate(expression) == result


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "is no arithmetic expression"),
        ("2 +", "is no arithmetic expression"),
        ("15% of 80", "is no arithmetic expression"),
        ("1\0", "is no arithmetic expression"),
        ("1,000 * 2", "write 1000, not 1,000"),
        ("1 / 0", "divides by zero"),
        ("0 ** -1", "divides by zero"),
        ("(-8) ** 0.5", "not a real number"),
        ("sqrt(-1)", r"sqrt does not take \(-1\)"),
        ("log()", r"log does not take \(\)"),
        ("factorial(401)", "from 0 to 400"),
        ("factorial(2.5)", "whole number"),
        ("round(1, -1000000000)", "up to 30 digits"),
        ("9 ** 9 ** 9", "too big"),
        ("2 ** 4096", "too big"),
        ("10 ** 1000 * 10 ** 1000", "too big"),
        ("10 ** 1000 * 1.5", "too big"),
        ("1e999", "too big"),
        ("exp(1000)", "too big"),
        ("x + 1", "'x' cannot be calculated"),
        ("'a' * 3", "cannot be calculated"),
        ("True + 1", "cannot be calculated"),
        ("1j * 1j", "cannot be calculated"),
        ("[1][0]", "cannot be calculated"),
        ("1 if 1 else 2", "cannot be calculated"),
        ("1 << 9", "cannot be calculated"),
        ("(lambda: 1)()", "cannot be calculated"),
        ("__import__('os').system('true')", "cannot be calculated"),
        ("().__class__", "cannot be calculated"),
        ("max(*(1, 2))", "cannot be calculated"),
        ("round(1.5, ndigits=1)", "cannot be calculated"),
        ("1 + " * 60 + "1", "may have 200 characters"),
        ("-" * 150 + "1", "nested"),
        ("(" * 99 + "1" + ")" * 99, "^1$"),
    ],
)
def test_what_cannot_be_calculated_is_one_sentence(expression: str, said: str) -> None:
    began = time.process_time()
    if said == "^1$":
        assert Math().calculate(expression) == "1"
    else:
        with pytest.raises(PluginError, match=said) as refused:
            Math().calculate(expression)
        assert "\n" not in str(refused.value)
    assert time.process_time() - began < 1
