"""The map from image to SLM is that of the spots, judged by spots it has not seen, and refused where it misses."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import yaml
from ni_rig import settings
from pattern_rig import by_holoblink, pattern_settings
from pydantic import ValidationError
from scipy.spatial import Delaunay
from sklearn.linear_model import LinearRegression
from system_rig import small_rig, write_rig

from rt_engine.cli import main
from rt_engine.interfaces.errors import CalibrationError, ConfigError
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.slm_registration import SlmRegistration, Spot
from rt_engine.services import slm_registration as slm

MATRIX = np.array([[0.31, 1.62, -80.0], [-1.55, 0.28, 700.0]])
GRID = [(y, x) for y in (60.0, 250.0, 440.0) for x in (70.0, 260.0, 450.0)]


def spots(noise_px=0.0, places=GRID, seed=1):
    """Spots whose places were found with some error."""
    random = np.random.default_rng(seed)
    found = []
    for y, x in places:
        slm_x, slm_y = MATRIX @ (y, x, 1.0)
        dy, dx = noise_px * random.standard_normal(2)
        found.append(Spot(slm_x, slm_y, y + dy, x + dx))
    return found


def csv_of(path, rows, columns=Spot._fields):
    text = [",".join(columns)] + [",".join(str(value) for value in row[: len(columns)]) for row in rows]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return str(path)


def test_the_planted_map_is_recovered():
    table, refused = slm.register(spots(), "me", 1.0)
    assert refused == ""
    assert np.array(table["matrix"]) == pytest.approx(MATRIX, abs=1e-6)
    made = SlmRegistration.model_validate(table)
    assert made.slm_xy(100.0, 200.0) == pytest.approx(tuple(MATRIX @ (100.0, 200.0, 1.0)), abs=1e-4)
    assert made.yx_px(*made.slm_xy(33.0, 401.0)) == pytest.approx((33.0, 401.0), abs=1e-6)


def test_each_spot_is_judged_by_a_map_of_the_others():
    """Against scikit-learn, which fits the others and is asked for the place in SLM units."""
    some = spots(noise_px=0.8)
    table, _ = slm.register(some, "me", 10.0)
    for i, spot in enumerate(some):
        others = [one for one in some if one is not spot]
        model = LinearRegression().fit([one[2:] for one in others], [one[:2] for one in others])
        off_slm = np.array(spot[:2]) - model.predict([spot[2:]])[0]
        off_px = np.linalg.solve(model.coef_, off_slm)
        assert table["residuals_px"][i] == pytest.approx(np.hypot(*off_px), abs=2e-3)
    made = SlmRegistration.model_validate(table)
    inside = [np.hypot(*np.subtract(made.yx_px(*one[:2]), one[2:])) for one in some]
    assert np.mean(table["residuals_px"]) > 1.2 * np.mean(inside)


@pytest.mark.parametrize(("places", "words"), [
    (GRID[:3], "3 spots cannot be judged"),
    ([(50.0 * i, 30.0 * i + 1.0) for i in range(6)], "lie on a line of the image"),
    ([*[(50.0 * i, 30.0 * i + 1.0) for i in range(6)], (10.0, 400.0)], "all but one of them"),
])  # fmt: skip
def test_spots_that_say_nothing_are_refused(places, words):
    with pytest.raises(CalibrationError, match=words):
        slm.register(spots(places=places), "me", 2.0)


def test_a_spot_that_is_off_refuses_the_map_and_is_drawn(tmp_path, capsys):
    bad = spots(noise_px=0.2)
    bad[4] = bad[4]._replace(x_px=bad[4].x_px + 6.0)
    out = tmp_path / "slm.registration.yaml"
    command = ["register-slm", csv_of(tmp_path / "spots.csv", bad), "--person", "me", "-o", str(out)]
    assert main(command) == 2
    assert "spot 5 is missed by" in capsys.readouterr().err
    assert not out.exists()
    assert out.with_suffix(".png").stat().st_size > 10_000


def burned(places, tmp_path, extra=None):
    """An image, then one after each spot, with the noise of photons."""
    random = np.random.default_rng(3)
    y, x = np.indices((512, 512))
    rate = 400.0 + 250.0 * np.sin(y / 37.0) * np.cos(x / 53.0)
    images = [random.poisson(rate)]
    for i, (py, px) in enumerate(places):
        rate = rate * (1 - 0.8 * np.exp(-((y - py) ** 2 + (x - px) ** 2) / (2 * 3.0**2)))
        if extra == i:
            rate = rate * (1 - 0.8 * np.exp(-((y - 150) ** 2 + (x - 350) ** 2) / (2 * 3.0**2)))
        images.append(random.poisson(rate))
    tifffile.imwrite(tmp_path / "burned.tif", np.array(images, np.uint16))
    return str(tmp_path / "burned.tif")


def test_burned_spots_are_found_in_images_and_registered(tmp_path, capsys):
    places = [(y + 0.3, x - 0.4) for y, x in GRID]
    rows = [tuple(MATRIX @ (y, x, 1.0)) for y, x in places]
    csv = csv_of(tmp_path / "spots.csv", rows, Spot._fields[:2])
    out = tmp_path / "slm.registration.yaml"
    command = ["register-slm", csv, "--person", "me", "--burned", burned(places, tmp_path), "-o", str(out)]
    assert main([*command, "--max-residual-px", "1.0"]) == 0, capsys.readouterr().err
    made = SlmRegistration.model_validate(yaml.safe_load(out.read_text(encoding="utf-8")))
    off = [np.hypot(one.y_px - y, one.x_px - x) for one, (y, x) in zip(made.spots, places, strict=True)]
    assert max(off) < 0.3
    assert "turned by 9.8 degrees, mirrored" in capsys.readouterr().out


def test_an_image_without_a_new_spot_or_with_two_is_named(tmp_path):
    with tifffile.TiffFile(burned(GRID, tmp_path, extra=2)) as file:
        images = list(file.asarray())
    names = [f"image {i}" for i in range(len(images))]
    with pytest.raises(CalibrationError, match=r"image 3: it has changed at .* and as much at"):
        slm.find_burned(images, names)
    with pytest.raises(CalibrationError, match="image 1: no new spot"):
        slm.find_burned([images[0], np.random.default_rng(9).permutation(images[0].ravel()).reshape(512, 512)], names)


@pytest.mark.parametrize(("text", "words"), [
    ("slm_x,slm_y,y_px\n1,2,3\n", "has no column x_px"),
    ("slm_x,slm_y,y_px,x_px\n1,2,3,4\n1,two,3,4\n", r"line 3: slm_y: 'two' is no number"),
    ("slm_x,slm_y,y_px,x_px\n1,2,nan,4\n", r"line 2: y_px: nan is no place"),
])  # fmt: skip
def test_a_list_that_cannot_be_read_names_line_and_column(text, words, tmp_path):
    (tmp_path / "spots.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        slm.read_spots(tmp_path / "spots.csv")


def test_the_places_that_spots_cover_are_those_of_their_hull():
    """Against scipy's triangulation of the spots, moved out from their middle by a twentieth."""
    random = np.random.default_rng(5)
    table, _ = slm.register(spots(), "me", 5.0)
    for n in (4, 6, 12):
        some = [Spot(*(MATRIX @ (y, x, 1.0)), y, x) for y, x in random.uniform(0, 400, (n, 2))]
        made = SlmRegistration.model_validate(table | {"spots": some, "residuals_px": [0.0] * n})
        places = np.array([one[2:] for one in some])
        hull = Delaunay(places.mean(axis=0) + 1.05 * (places - places.mean(axis=0)))
        asked = random.uniform(-50, 450, (300, 2))
        inside = hull.find_simplex(asked) >= 0
        assert [made.covers(*one) for one in asked] == inside.tolist()
        assert 0 < inside.sum() < 300
    assert not made.covers(float("nan"), 1.0)


def rig_with(tmp_path, table):
    (tmp_path / "slm.registration.yaml").write_text(yaml.safe_dump(table), encoding="utf-8")
    lit = [{"number": 1, "targets_yx_px": [[100.0, 100.0]]}]
    config = pattern_settings(settings(1).model_dump(mode="json"), by_holoblink(1), patterns=lit).model_dump(
        mode="json"
    )
    rig = small_rig(microscope__pace="real_time")
    rig["outputs"]["led"] = config | {"limits": rig["outputs"]["led"]["limits"]}
    rig["outputs"]["led"]["registration"] = "slm.registration.yaml"
    return load_rig(write_rig(tmp_path, rig))


def test_a_rig_takes_the_file_and_refuses_at_the_start_one_that_misses(tmp_path):
    table, _ = slm.register(spots(noise_px=0.3), "me", 2.0)
    config = rig_with(tmp_path, table).outputs["led"]
    assert config.registration.spots == tuple(spots(noise_px=0.3))
    with pytest.raises(ConfigError, match=r"spot \d is missed by .* max_residual_px is 0.1"):
        rig_with(tmp_path, table | {"max_residual_px": 0.1})
    shifted = [[a, b, c + 40.0] for a, b, c in table["matrix"]]
    with pytest.raises(ConfigError, match="is missed by"):
        rig_with(tmp_path, table | {"matrix": shifted})
    with pytest.raises(ValidationError, match="onto a line"):
        SlmRegistration.model_validate(table | {"matrix": [[1, 2, 0], [2, 4, 0]]})
