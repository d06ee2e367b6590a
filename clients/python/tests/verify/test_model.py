"""Globs, logarithms and evaluation, by docs/spec/trust.md."""

from __future__ import annotations

import json
import math
import random
import re
from typing import Any

import pytest

from sigil_client.verify.cbor import CborMap, CborValue
from sigil_client.verify.errors import MalformedModel
from sigil_client.verify.model.globs import GlobTable, glob_fault, matches
from sigil_client.verify.model.recompute import replay, value_text
from sigil_client.verify.model.trust_model import FEATURES, evaluate, input_entropy, logit, parse_model
from sigil_client.verify.record.decision import read_decision

from .vectors import REPOSITORY
from .world import MODEL, decision_body


def _example() -> Any:
    page = (REPOSITORY / "docs/spec/trust.md").read_text("utf-8")
    return json.loads(re.findall(r"## 9\. A worked example.*?```json\n(.*?)```", page, re.DOTALL)[0])


def test_the_worked_example_of_the_specification() -> None:
    example = _example()
    model, check, result = parse_model(example["model"]), example["check"], example["result"]
    found = evaluate(
        model,
        action=check["action"],
        target=check["target"],
        level=check["level"],
        floor=None,
        rate=check["earlier_checks"] / example["model"]["rate"]["limit"],
        entropy=input_entropy(check["input"].encode()),
    )
    assert found.features == result["features"]
    assert found.contributions == result["contributions"]
    assert (found.z, found.verdict, found.reason) == (result["z"], result["verdict"], result["reason"])
    assert math.isclose(found.score, result["score"], abs_tol=1e-9)
    assert logit(0.6) == example["thresholds_z"]["threshold"]
    assert logit(0.55) == example["thresholds_z"]["low"]
    assert logit(0.7) == example["thresholds_z"]["high"]


def test_the_logit_is_near_that_of_the_library_and_zero_at_a_half() -> None:
    chance = random.Random(4)
    assert logit(0.5) == 0
    # With a term less of the series the last bit is another.
    assert logit(0.9571413993835449) == 3.1060447938841036
    for _ in range(2000):
        score = chance.random()
        assert math.isclose(logit(score), math.log(score / (1 - score)), rel_tol=1e-14, abs_tol=1e-15)


def test_a_sum_is_rounded_after_each_addition_from_left_to_right() -> None:
    bias, a, b, c, d, e = [0.9, -0.03, -0.03, 0.54, -0.94, -0.38]
    weights: CborValue = dict(zip(FEATURES, (a, b, c, d, e), strict=True))
    model = parse_model({**MODEL, "bias": bias, "weights": weights})
    found = evaluate(model, action="none", target="none", level="root", floor=None, rate=1.0, entropy=1.0)
    assert found.z == ((((bias + a) + b) + c) + d) + e
    # Other orders, and a sum that is rounded once, give other last bits.
    others = (
        math.fsum((bias, a, b, c, d, e)),
        bias + (a + (b + (c + (d + e)))),
        ((((a + b) + c) + d) + e) + bias,
    )
    assert found.z not in others


def test_a_band_reviews_from_its_low_edge_up_to_its_high_one() -> None:
    model = parse_model(MODEL)
    for rate, entropy, verdict in (
        (0.5, 0.0, "deny"),
        (0.4, 0.0, "deny"),
        (0.35, 0.0, "review"),
        # At or above the threshold, and below the high edge.
        (0.2, 0.0, "review"),
        (0.0, 0.0, "allow"),
    ):
        found = evaluate(
            model,
            action="notes.append",
            target="user/ann/notes/a",
            level="operator",
            floor=None,
            rate=rate,
            entropy=entropy,
        )
        assert found.verdict == verdict, found.z


def test_a_feature_of_zero_contributes_zero_and_not_minus_zero() -> None:
    asked = {"action": "notes.append", "target": "user/ann/notes/a", "level": "guest", "floor": None}
    found = evaluate(parse_model(MODEL), rate=0.0, entropy=0.0, **asked)  # type: ignore[arg-type]
    assert all(math.copysign(1, found.contributions[name]) == 1 for name in ("level", "rate", "entropy"))


def test_a_floor_raises_the_least_level_and_never_lowers_it() -> None:
    model = parse_model(MODEL)
    asked = {"action": "notes.append", "target": "user/ann/notes/a", "rate": 0.0, "entropy": 0.0}
    for level, floor, reason in (
        ("observer", None, "SCORE_BELOW_THRESHOLD"),
        ("guest", None, "LEVEL_TOO_LOW"),
        ("operator", "mentor", "LEVEL_TOO_LOW"),
        ("guest", "guest", "LEVEL_TOO_LOW"),
        ("root", "root", "SCORE_AT_OR_ABOVE_THRESHOLD"),
    ):
        assert evaluate(model, level=level, floor=floor, **asked).reason == reason  # type: ignore[arg-type]
    unknown = evaluate(model, level="root", floor="guest", **{**asked, "action": "other"})  # type: ignore[arg-type]
    assert (unknown.verdict, unknown.reason) == ("deny", "UNKNOWN_ACTION")


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("tool.*", "tool.search", True),
        ("tool.*", "tool.web.search", True),
        ("tool.*", "tool.", True),
        ("tool.*", "tools", False),
        ("user/*", "user/ann", True),
        ("user/*", "user/ann/notes", False),
        ("user/*", "user/", True),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("a/**/z", "a/b/c", False),
        ("public/**", "public/x", True),
        ("public/**", "public/x/y", True),
        ("public/**", "public", False),
        ("**", "anything/at/all", True),
        ("**/z", "z", True),
        ("**/z", "a/b/z", True),
        ("**/**", "a", True),
        ("a*b*c", "abbc", True),
        ("a*bc*c", "abc", False),
        ("*a", "ba", True),
        ("ab*ba", "aba", False),
        ("a/%2A", "a/*", True),
        ("a/%2A", "a/b", False),
        ("a?c", "abc", False),
        ("[ab]", "a", False),
    ],
)
def test_globs(pattern: str, text: str, is_match: bool) -> None:
    assert glob_fault(pattern) is None
    assert matches(pattern, text) is is_match


def test_globs_match_as_a_regular_expression_of_them_does() -> None:
    """A second, backtracking reading of §2, over every short pattern and text of a few characters."""
    chance = random.Random(7)
    wild = {"**/": "(?:[^/]*/)*", "**": "[^/]*(?:/[^/]*)*", "*": "[^/]*"}
    for _ in range(20_000):
        segments = [
            chance.choice(["**", "*", "a", "b*", "*b", "a*b", "ab", "b"]) for _ in range(chance.randint(1, 4))
        ]
        text = "/".join(chance.choice(["a", "b", "ab", "aab", "ba", ""]) for _ in range(chance.randint(1, 5)))
        pattern = "/".join(segments)
        parts = re.split(r"(\*\*/|\*\*|\*)", pattern)
        expected = re.fullmatch("".join(wild.get(part, re.escape(part)) for part in parts), text) is not None
        assert matches(pattern, text) is expected, (pattern, text)


def test_the_most_specific_pattern_wins() -> None:
    table = GlobTable(
        {"**": 0, "user/**": 1, "user/*/notes/**": 2, "user/ann/notes/a": 3, "user/*/notes/*": 4}
    )
    assert table.find("user/ann/notes/a") == 3
    assert table.find("user/ann/notes/b") == 4
    assert table.find("user/ann/notes/b/c") == 2
    assert table.find("user/ann") == 1
    assert table.find("other") == 0
    # Among equals of as many literal bytes fewer stars, and then the bytewise smaller one.
    assert GlobTable({"*b*": 1, "b*": 2}).find("b") == 2
    assert GlobTable({"b*": 1, "*b": 2}).find("bb") == 2


@pytest.mark.parametrize("text", ["", "public/../system", "public/./a", ".", "a\x00b", "a\x85b"])
def test_a_text_that_hides_where_it_leads_matches_nothing(text: str) -> None:
    assert GlobTable({"**": 1, "public/**": 2}).find(text) is None


@pytest.mark.parametrize("pattern", ["", "a/../b", "a**", "**a/b", "a\x01", "x" * 513])
def test_a_pattern_that_breaks_a_rule(pattern: str) -> None:
    assert glob_fault(pattern) is not None
    with pytest.raises(MalformedModel):
        parse_model({**MODEL, "targets": {pattern: 0.5}})


@pytest.mark.parametrize(
    ("field", "but"),
    [
        ("bias", {"bias": 2**60}),
        ("bias", {"bias": True}),
        ("threshold", {"threshold": 0}),
        ("threshold", {"threshold": 1}),
        ("weights.level", {"weights": {**MODEL["weights"], "level": 0}}),  # type: ignore[dict-item]
        ("weights.rate", {"weights": {**MODEL["weights"], "rate": 0.5}}),  # type: ignore[dict-item]
        ("weights.extra", {"weights": {**MODEL["weights"], "extra": 1}}),  # type: ignore[dict-item]
        ("weights", {"weights": {**MODEL["weights"], "level": 1.7e308, "rate": -1.7e308}}),  # type: ignore[dict-item]
        ("review.low", {"review": {"low": 0.65, "high": 0.7}}),
        ("review.high", {"review": {"low": 0.5, "high": 0.55}}),
        ("review.low", {"review": {"low": 0, "high": 0.7}}),
        ("rate.limit", {"rate": {"window_ms": 1, "limit": 0}}),
        ("rate.window_ms", {"rate": {"window_ms": 86_400_001, "limit": 1}}),
        ('targets["a"]', {"targets": {"a": 1.1}}),
        ('actions["a"].min_loa', {"actions": {"a": {"risk": 0, "min_loa": "admin"}}}),
        ("extra", {"extra": 1}),
    ],
)
def test_a_model_that_breaks_a_rule_is_refused_as_a_whole(field: str, but: dict[str, Any]) -> None:
    with pytest.raises(MalformedModel) as raised:
        parse_model({**MODEL, **but})
    assert raised.value.field == field


def test_a_model_from_before_canonical_globs_is_read_both_ways() -> None:
    """§8.4: its patterns literally, or each by its canonical form, of two that coincide the stricter row."""
    old: CborMap = {
        **MODEL,
        "targets": {"user//ann/notes/**": 0.25, "user/ann//notes/**": 0.125, "a#b": 0},
    }
    decision = read_decision(decision_body(b"\0" * 32))
    assert replay(decision, old).outcome == "partial"
    literally: CborMap = {**MODEL, "targets": {"user/ann/notes/**": 0.25, "user//ann/**": 1}}
    assert replay(decision, literally).outcome == "partial"
    laxer: CborMap = {**MODEL, "targets": {"user//ann/notes/**": 0.125, "user/ann//notes/**": 0.0625}}
    assert replay(decision, laxer).outcome == "different"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-2.0, "-2"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (1.5e-5, "0.000015"),
        (1e-7, "1e-7"),
        (1e21, "1e+21"),
        (None, "null"),
    ],
)
def test_numbers_are_written_as_json_has_them(value: float | None, text: str) -> None:
    assert value_text(value) == text
