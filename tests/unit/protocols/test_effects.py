"""Estimates recover what is planted, and find nothing where there is nothing, as often as they say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, false_discovery_control, ttest_1samp, ttest_ind

from protocols.effects.confidence_sequence import interval
from protocols.effects.contrast import Contrast, estimate
from protocols.effects.e_value import capital
from protocols.effects.excitability import fit_curve
from protocols.effects.false_discovery import adjusted_p
from protocols.effects.influence import influence_map
from protocols.effects.power import detectable_sd, power
from protocols.effects.randomisation import randomisation_p
from protocols.running.assignment import Assignment
from protocols.schema.design import Arm, Design


def design(share=0.5, block_size=None, seed=1):
    arms = {"stim": Arm(kind="stim", share=share), "withheld": Arm(kind="withheld", share=1 - share)}
    return Design(seed=seed, arms=arms, block_size=block_size)


def session(share, block_size, seed, n, effect, drift=0.0):
    """Draws of a session, and responses with autocorrelated noise, a drift, and the effect of being lit."""
    assignment = Assignment(design(share, block_size, seed))
    draws = [assignment.draw() for _ in range(n)]
    arm = np.array([one.arm for one in draws])
    probability = np.array([one.probability for one in draws])
    noise = np.random.default_rng([seed, 77]).standard_normal(n)
    for i in range(1, n):
        noise[i] += 0.5 * noise[i - 1]
    y = noise + drift * np.linspace(-1, 1, n) + effect * (arm == 0)
    return assignment, Contrast(np.arange(n), arm, arm == 0, y, probability[:, 0], share)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("block_size", [None, 10])
def test_weighting_by_the_inverse_probability_is_unbiased(share, block_size):
    found = []
    for seed in range(400):
        _, one = session(share, block_size, seed, 60, effect=1.0, drift=1.0)
        found.append([estimate(one, block_size, 0.05)[name] for name in ("ipw", "estimate")])
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert np.all(np.abs(np.mean(found, axis=0) - 1.0) < 3.3 * error)


def test_the_probability_of_a_draw_is_that_of_the_mechanism():
    for block_size, share in ((None, 0.2), (4, 0.25)):
        assignment = Assignment(design(share, block_size))
        draws = [assignment.draw() for _ in range(8000)]
        expected = sum(one.probability[0] for one in draws)
        variance = sum(one.probability[0] * (1 - one.probability[0]) for one in draws)
        assert abs(sum(one.arm == 0 for one in draws) - expected) < 3.5 * np.sqrt(variance) + 1e-9


@pytest.mark.parametrize(("block_size", "share"), [(None, 0.5), (8, 0.25)])
def test_a_redraw_has_the_law_of_the_draw(block_size, share):
    assignment = Assignment(design(share, block_size))
    random = np.random.default_rng(0)
    redrawn = assignment.redraw(16, 4000, random)
    per_block = (redrawn == 0).reshape(4000, 2, 8).sum(axis=2)
    if block_size is None:
        assert per_block.var() == pytest.approx(8 * share * (1 - share), rel=0.1)
    else:
        assert np.all(per_block == 2)
    assert np.abs((redrawn == 0).mean(axis=0) - share).max() < 0.035


def test_the_randomisation_test_is_that_of_all_assignments():
    y = np.array([0.1, 2.0, 1.9, -0.3, 0.2, 1.4, -0.8, 2.2])
    arm = np.array([1, 0, 0, 1, 1, 0, 1, 0])
    all_arms = np.array(list(product((0, 1), repeat=8)))
    observed = y[arm == 0].mean() - y[arm == 1].mean()
    as_large = 0
    for one in all_arms:
        if one.min() == one.max():
            as_large += 1
            continue
        as_large += abs(y[one == 0].mean() - y[one == 1].mean()) >= abs(observed) - 1e-12
    exact = as_large / len(all_arms)
    found = randomisation_p(y, np.arange(8), arm, (0, 1), Assignment(design()).redraw, 5, n_draws=20_000)
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact / 20_000) + 1 / 20_000)


def test_a_bet_on_fair_coins_gains_nothing_on_average_over_all_outcomes():
    y = np.random.default_rng(1).standard_normal(10)
    for probability in (0.5, 0.2):
        mean = 0.0
        for coins in product((True, False), repeat=10):
            treated = np.array(coins)
            found = capital(treated, y, np.full(10, probability))
            assert np.all(found > 0)
            mean += float(np.prod(np.where(treated, probability, 1 - probability)) * found[-1])
        assert mean == pytest.approx(1.0, abs=1e-12)


def test_without_an_effect_no_way_of_looking_finds_one_too_often_and_before_and_after_would():
    n_sessions, n = 300, 80
    found = {"p": 0, "interval": 0, "e": 0}
    for seed in range(n_sessions):
        block_size = 8 if seed % 2 else None
        assignment, one = session(0.5, block_size, seed, n, effect=0.0, drift=2.0)
        p = randomisation_p(one.response, one.draw, one.arm, (0, 1), assignment.redraw, seed, n_draws=399)
        found["p"] += p <= 0.05
        excluded = False
        for k in range(12, n + 1, 4):
            part = Contrast(one.draw[:k], one.arm[:k], one.is_treated[:k], one.response[:k], one.probability[:k], 0.5)
            told = estimate(part, block_size, 0.05)
            excluded |= "low" in told and told["low"] * told["high"] > 0
        found["interval"] += excluded
        found["e"] += capital(one.is_treated, one.response, one.probability).max() >= 20
    print(f"of {n_sessions} null sessions: {found}")
    most = binom.ppf(0.99, n_sessions, 0.05)
    assert found["p"] <= most
    assert found["interval"] <= most
    assert found["e"] <= most


def selected_session(seed, effect, n_trials=60):
    """A loop on one slow signal: a trigger is a crossing of 1.5 SD; the response is what follows minus before."""
    random = np.random.default_rng([seed, 5])
    n = 60 * n_trials
    x = np.zeros(n)
    noise = random.standard_normal(n)
    for i in range(1, n):
        x[i] = 0.9 * x[i - 1] + np.sqrt(1 - 0.81) * noise[i]
    crossing = np.flatnonzero((x[1:] >= 1.5) & (x[:-1] < 1.5)) + 1
    crossing = crossing[(crossing > 10) & (crossing < n - 12)]
    moments = [crossing[0]]
    for one in crossing[1:]:
        if one - moments[-1] > 25:
            moments.append(one)
    assignment = Assignment(design(0.5, 8 if seed % 2 else None, seed))
    draws = [assignment.draw() for _ in moments]
    arm = np.array([one.arm for one in draws])
    y = np.array([x[t + 2 : t + 10].mean() - x[t - 6 : t].mean() for t in moments]) + effect * (arm == 0)
    probability = np.array([one.probability[0] for one in draws])
    return assignment, Contrast(np.arange(len(y)), arm, arm == 0, y, probability, 0.5)


def test_before_and_after_finds_an_effect_that_is_not_there_and_the_withheld_trials_do_not():
    n_sessions = 300
    naive = found = 0
    for seed in range(n_sessions):
        assignment, one = selected_session(seed, effect=0.0)
        p = randomisation_p(one.response, one.draw, one.arm, (0, 1), assignment.redraw, seed, n_draws=399)
        found += p <= 0.05
        naive += ttest_1samp(one.response[one.is_treated], 0.0).pvalue <= 0.05
    print(f"of {n_sessions} null sessions: before-and-after {naive}, randomisation test {found}")
    assert found <= binom.ppf(0.99, n_sessions, 0.05)
    assert naive > 5 * 0.05 * n_sessions


def test_a_planted_effect_is_covered_at_all_times_and_found():
    misses = fixed_misses = hits = 0
    for seed in range(300):
        block_size = 8 if seed % 2 else None
        _, one = session(0.5, block_size, seed, 120, effect=1.5)
        missed = False
        for k in range(12, 121, 4):
            part = Contrast(one.draw[:k], one.arm[:k], one.is_treated[:k], one.response[:k], one.probability[:k], 0.5)
            told = estimate(part, block_size, 0.05)
            if "low" in told:
                missed |= not told["low"] <= 1.5 <= told["high"]
        misses += missed
        hits += told["low"] > 0
        fixed_misses += not told["fixed_low"] <= 1.5 <= told["fixed_high"]
    print(f"of 300 planted: missed at some time {misses}, at the end {fixed_misses}, found {hits}")
    assert misses <= binom.ppf(0.99, 300, 0.05)
    assert binom.ppf(0.001, 300, 0.05) <= fixed_misses <= binom.ppf(0.999, 300, 0.05)
    assert hits > 200


def test_no_interval_before_there_is_enough_to_tell():
    assert interval(np.arange(5.0), 0.05) is None


def test_adjusted_p_are_those_of_scipy():
    p = np.random.default_rng(0).random(200) ** 3
    assert np.allclose(adjusted_p(p), false_discovery_control(p))


@pytest.mark.parametrize(("effect", "n"), [(0.5, 40), (0.2, 100), (1.0, 12)])
def test_power_is_how_often_a_t_test_finds_the_effect(effect, n):
    random = np.random.default_rng(0)
    found = ttest_ind(random.standard_normal((4000, n)) + effect, random.standard_normal((4000, n)), axis=1).pvalue
    assert power(effect, n, n, 0.05) == pytest.approx(np.mean(found < 0.05), abs=0.03)
    assert power(detectable_sd(n, n, 0.05), n, n, 0.05) == pytest.approx(0.8, abs=1e-6)
    assert power(0.0, n, n, 0.05) == pytest.approx(0.05, abs=1e-6)


def test_a_response_curve_is_recovered_and_a_cell_that_does_not_respond_has_none():
    random = np.random.default_rng(0)
    powers = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0], 10)
    for p50 in (2.5, 4.0, 6.0):
        probability = 1 / (1 + np.exp(p50 - powers))
        fitted = []
        for _ in range(60):
            response = 0.3 * (random.random(len(powers)) < probability) + 0.05 * random.standard_normal(len(powers))
            fitted.append(fit_curve(powers, response)["p50_mw"])
        fitted = [one for one in fitted if one is not None]
        assert len(fitted) >= 57
        assert np.mean(fitted) == pytest.approx(p50, abs=0.2)
        assert np.std(fitted) < 1.0
    silent = [fit_curve(powers, 0.05 * random.standard_normal(len(powers)))["p50_mw"] for _ in range(50)]
    assert sum(one is not None for one in silent) <= 2


def planted_influence(seed, effect):
    random = np.random.default_rng(seed)
    n_sites, n_control, n_cells, n_rounds = 16, 6, 40, 40
    site = np.concatenate([random.permutation(n_sites) for _ in range(n_rounds)])
    is_control = np.arange(n_sites) >= n_sites - n_control
    response = random.standard_normal((len(site), n_cells)) + 0.3 * random.standard_normal((len(site), 1))
    pairs = [(0, 5), (1, 6), (2, 7), (3, 8), (4, 9)]
    for target, cell in pairs:
        response[site == target, cell] += effect
    response[random.random(response.shape) < 0.02] = np.nan
    distance_um = np.full((n_sites, n_cells), 100.0)
    distance_um[0, 0] = 10.0
    return influence_map(response, site, is_control, distance_um, 25.0, seed, 200), set(pairs)


def test_an_influence_map_finds_what_is_planted_at_the_rate_of_false_findings_it_promises():
    n_true = n_false = 0
    for seed in range(20):
        found, pairs = planted_influence(seed, effect=1.2)
        assert len(found.p) == 10 * 40 - 1
        believed = {(int(t), int(c)) for t, c, q in zip(found.target, found.cell, found.q, strict=True) if q <= 0.05}
        n_true += len(believed & pairs)
        n_false += len(believed - pairs)
    assert n_true >= 90
    assert n_false <= 0.05 * (n_true + n_false) + 3 * np.sqrt(0.05 * (n_true + n_false))


def test_an_influence_map_of_nothing_is_empty_as_often_as_promised():
    found = [planted_influence(seed, effect=0.0)[0] for seed in range(60)]
    assert sum(bool(np.any(one.q <= 0.05)) for one in found) <= binom.ppf(0.995, 60, 0.05)
    assert ttest_1samp([one.influence.mean() for one in found], 0.0).pvalue > 1e-3
