"""Small mistakes, a few a kernel file: what stands there, what to put there, and the tests that must then fail."""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """`old` stands exactly once in the file."""

    old: str
    new: str


KERNEL_TESTS = {
    "baseline": "kernels/test_baseline.py",
    "calcium": "kernels/test_calcium.py",
    "count_lanes": "kernels/test_extraction_kernels.py",
    "decision": "kernels/test_decision.py",
    "demixing": "kernels/test_demixing_kernels.py",
    "drive_decision": "kernels/test_drive_decision.py",
    "drive_evidence": "kernels/test_drive_decision.py",
    "drive_smoother": "kernels/test_drive_smoother.py",
    "extraction": "kernels/test_extraction_kernels.py",
    "filter_bank": "kernels/test_filter_bank.py",
    "lanes": "kernels/test_exact_sums.py",
    "line_phase": "pipeline/test_line_phase.py",
    "matched_filter": "kernels/test_matched_filter.py",
    "near_correlation": "kernels/test_near_correlation.py",
    "network": "kernels/test_network.py",
    "neuropil_update": "pipeline/test_neuropil.py",
    "oasis_ar1": "kernels/test_oasis_ar1.py",
    "oasis_ar2": "kernels/test_oasis_ar2.py",
    "pool_history": "kernels/test_oasis_ar1.py",
    "power_of_e": "kernels/test_exact_sums.py",
    "registration": "kernels/test_pixel_kernels.py",
    "render": "kernels/test_render.py",
    "resample": "kernels/test_pixel_kernels.py",
    "running_median": "kernels/test_pixel_kernels.py",
    "saturation": "kernels/test_extraction_kernels.py",
    "trace_output": "kernels/test_trace_output.py",
    "weighted_extraction": "kernels/test_extraction_kernels.py",
}
"""Of every kernel file, the file of `tests/unit` that is about it."""

WITHOUT_KERNELS = {"__init__", "compile_options", "sample_codes"}

MUTATIONS = {
    "baseline": [
        Mutation("f_np[n] - median[n]", "f_np[n]"),
        Mutation("hold_off[n] <= 0", "hold_off[n] < 0"),
        Mutation("up[n] if above else -down[n]", "up[n] if above else -up[n]"),
    ],
    "calcium": [
        Mutation("-0.5 * dt_s / params[TAU_CALCIUM]", "-dt_s / params[TAU_CALCIUM]"),
        Mutation("if target > bound else", "if target < bound else"),
    ],
    "count_lanes": [
        Mutation("step *= 2", "step *= 4"),
        Mutation("[N_COUNTS - 1] * N_COUNTS", "[0] * N_COUNTS"),
        Mutation('icmp_signed(">", a, b)', 'icmp_signed("<", a, b)'),
        Mutation("builder.sub(end, begin)", "builder.sub(begin, end)"),
        Mutation("_number(builder, arguments[0], 1)", "_number(builder, arguments[0], 0)"),
    ],
    "decision": [
        Mutation("1.5 * odds", "odds"),
        Mutation("if z[n] < parameters.threshold[n]", "if z[n] <= parameters.threshold[n] + 0.1"),
        Mutation("parameters.f0_counts[n] / f0[n]", "f0[n] / parameters.f0_counts[n]"),
        Mutation("ring.age[n] = 0", "ring.age[n] = 1"),
    ],
    "demixing": [
        Mutation("light[i] = total / factor[last]", "light[i] = total"),
        Mutation("-structure.rest[i])", "0.0)"),
        Mutation("f_roi[roi] -= others / structure.norm[i]", "f_roi[roi] -= others"),
    ],
    "drive_decision": [
        Mutation("<= parameters.refractory_frames[n]", "< parameters.refractory_frames[n]"),
        Mutation("event.event_frame = frame - onset", "event.event_frame = frame - hold"),
        Mutation("state.armed[n] = 0", "state.armed[n] = 1"),
    ],
    "drive_evidence": [
        Mutation(
            "fewer = n * (LOG_RATIO + gain * (z - 0.5 * n * gain))", "fewer = n * (LOG_RATIO + gain * (z - n * gain))"
        ),
        Mutation("max(0.0, log_odds_before[n], cell[_AFTER + n])", "max(0.0, cell[_AFTER + n])"),
        Mutation("z_before[n] = cell[Z + n]", "z_before[n] = cell[Z_AFTER + n]"),
    ],
    "drive_smoother": [
        Mutation("cell[_UV + n] = uv - ku * hv", "cell[_UV + n] = uv"),
        Mutation("cell[_BB + n] + cell[_BASELINE + n]", "cell[_BB + n]"),
        Mutation("after[n] = cu - cell[_GAIN_U + n] * seen", "after[n] = cu"),
    ],
    "extraction": [
        Mutation("upper_sum += part_x * sum_01", "upper_sum += part_x * sum_00"),
        Mutation("n_inside_out[mask] = box[4]", "n_inside_out[mask] = 1"),
        Mutation("before = add_counts(before, last_everywhere(sums))", "before = last_everywhere(sums)"),
        Mutation("load_pair(flat_prefix, a + below))", "load_pair(flat_prefix, a))"),
    ],
    "filter_bank": [
        Mutation("0.5 * bank.scratch[ENERGY, j]", "bank.scratch[ENERGY, j]"),
        Mutation("a1 += x[k] * tail[k]", "a1 += x[k]"),
        Mutation("count += (m + 1)", "count += m"),
    ],
    "lanes": [
        Mutation("for start in (0, n))", "for start in (0, 0))"),
        Mutation("builder.fmul(arguments[1], arguments[2])", "arguments[1]"),
    ],
    "line_phase": [
        Mutation("(1.0 - part_x) * left_sum + part_x * right_sum", "part_x * left_sum + (1.0 - part_x) * right_sum"),
    ],
    "matched_filter": [
        Mutation("a1 += tap * decay", "a1 += tap"),
        Mutation("np.sqrt(full / energy)", "(full / energy)"),
        Mutation("min(age[n] + 1, n_taps)", "min(age[n] + 2, n_taps)"),
    ],
    "near_correlation": [
        Mutation("after += weight * line[np.uint64(third)]", "after += weight * line[np.uint64(second)]"),
        Mutation(
            "add_product(right, weight, load_lanes(line_1, at_2))",
            "add_product(right, weight, load_lanes(line_1, at_1))",
        ),
    ],
    "network": [
        Mutation("held[n] = new + keep * (held[n] - new)", "held[n] = new"),
        Mutation("is_there[n] = _ONE if sampled", "is_there[n] = _ZERO if sampled"),
    ],
    "neuropil_update": [
        Mutation("min(max(change, -pace[2]), pace[2])", "change"),
        Mutation("residual > UPPER_SD * sigma_counts[n] or", "residual > 1e9 * sigma_counts[n] or"),
    ],
    "oasis_ar1": [
        Mutation("merged = weight + decay * decay", "merged = weight + decay"),
        Mutation("floor_hits[i] += 1", "floor_hits[i] += 0"),
        Mutation("fit -= penalty[i] * gamma[i] * decay / weight", "fit -= penalty[i] * decay / weight"),
        Mutation("gamma[i] ** n_gap", "gamma[i]"),
    ],
    "oasis_ar2": [
        Mutation("ff += fast * fast * top[_FF + i]", "ff += fast * top[_FF + i]"),
        Mutation("h_h = d * d * ss - 2.0 * d * r * sf", "h_h = d * d * ss - d * r * sf"),
        Mutation("floor_hits[i] += 1", "floor_hits[i] += 0"),
    ],
    "pool_history": [
        Mutation("if n_frames < 64 else np.uint64(0)", "if n_frames < 1 else np.uint64(0)"),
        Mutation("0x0F0F0F0F0F0F0F0F)", "0x0F0F0F0F0F0F0F00)"),
    ],
    "power_of_e": [
        Mutation("r * (1.0 / 6.0)", "r * (1.0 / 5.0)"),
        Mutation("x = -_LARGEST if x < -_LARGEST else x", "x = x"),
    ],
    "registration": [
        Mutation("offset_y = 0.5 * (below - above)", "offset_y = 0.5 * (above - below)"),
        Mutation("row[kx] = value * reference[kx]", "row[kx] = value"),
        Mutation("row_sum += part", "row_sum = part"),
        Mutation("(lower[left] + lower[right])", "lower[left]"),
    ],
    "render": [
        Mutation("(1.0 if u >= c1 else 0.0)", "(1.0 if u >= c2 else 0.0)"),
        Mutation("gain * photons[x] + read_noise", "photons[x] + read_noise"),
    ],
    "resample": [
        Mutation("part_x * upper[right]", "part_x * upper[left]"),
        Mutation("half * (a - b) * (a - b)", "(a - b) * (a - b)"),
    ],
    "running_median": [
        Mutation("middle = (n - 1) // 2", "middle = n // 2"),
        Mutation("for i in range(place, n - 1):", "for i in range(place, n - 2):"),
    ],
    "saturation": [
        Mutation(
            "n_right += line[np.uint64(x + step_x)] >= saturation_counts",
            "n_right += line[np.uint64(x + step_x)] > saturation_counts",
        ),
        Mutation("(whole - sum_out) / n_left", "whole / n_left"),
    ],
    "trace_output": [
        Mutation("(muted[n] != 1) & ", ""),
        Mutation("_copy_valid(valid, output.spike, output.spike)", "pass"),
    ],
    "weighted_extraction": [
        Mutation("(1.0 - part_x) * sum_10 + part_x * sum_11", "(1.0 - part_x) * sum_10 + part_x * sum_10"),
        Mutation("weight_inside_out[roi] = inside", "weight_inside_out[roi] = 1"),
    ],
}
"""By kernel file."""
