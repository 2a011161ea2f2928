"""The page as text: layers, orientation, what it says, and what it must not say."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from recon3d.errors import InputError, ShapeError
from recon3d.evaluation.metrics import compare
from recon3d.grid import AffineGrid, BeamGrid, SurveyGrid
from recon3d.report.encode import Stored
from recon3d.report.html import case_report
from recon3d.report.pictures import _panels
from recon3d.volume import Volume

SHAPE = (5, 6, 7)
GRID = AffineGrid.patient(SHAPE, (3.0, 2.0, 1.0))
HOSTILE = '</script><script>document.title="taken"</script><img src=x onerror=alert(1)>&amp;"\''


def image(seed=0, shape=SHAPE, grid=GRID, units="HU", **more):
    return Volume(np.random.default_rng(seed).normal(0, 300, shape).astype(np.float32), grid, units, **more)


class Page(HTMLParser):
    """Elements of a page, with the text of scripts by their id."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts, self.text, self._into = [], {}, [], None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self._into = dict(attributes).get("id") or tag
            self.scripts[self._into] = ""

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._into = None

    def handle_data(self, data):
        if self._into:
            self.scripts[self._into] += data
        else:
            self.text.append(data)

    @property
    def scene(self):
        return json.loads(self.scripts["scene"])

    def values(self, layer, part=0):
        spec = self.scene["layers"][layer]["parts"][part]
        scale = spec["levels"], spec["low"], spec["high"]
        return Stored(self.scripts[spec["id"]], tuple(spec["shape"]), *scale).values()


def test_layers_come_back_with_their_scale():
    result, truth = image(0), image(1)
    scene_page = Page(case_report({"result": result, "reference": truth}, reference="reference"))
    scene = scene_page.scene
    assert [layer["name"] for layer in scene["layers"]] == ["result", "reference", "difference from reference"]
    np.testing.assert_allclose(scene_page.values(0)[0], np.clip(result.data, -1024, 3071), atol=0.5001)
    step = scene["layers"][2]["parts"][0]
    tolerance = 0.51 * (step["high"] - step["low"]) / (step["levels"] - 1)
    np.testing.assert_allclose(scene_page.values(2)[0], result.data - truth.data, atol=tolerance)
    assert [layer["parts"][0]["map"] for layer in scene["layers"]] == ["gray", "gray", "sign"]
    np.testing.assert_allclose(scene["affine"], GRID.matrix[:3])


def test_planes_lie_as_the_pictures_do():
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        for flips in np.ndindex(2, 2, 2):
            matrix = GRID.matrix
            columns = matrix[:, [2 - order[2 - k] for k in range(3)] + [3]]
            for axis, flip in enumerate(flips):
                columns[:, 2 - axis] *= -1 if flip else 1
            grid = AffineGrid(tuple(SHAPE[k] for k in order), tuple(map(tuple, columns)))
            volume = image(shape=grid.shape, grid=grid)
            planes = {p["name"].lower(): p for p in Page(case_report({"result": volume})).scene["planes"]}
            for panel in _panels(volume):
                plane = planes[panel.plane]
                slice_ = np.take(volume.data, volume.data.shape[plane["axis"]] // 2, plane["axis"])
                slice_ = slice_ if plane["rows"] < plane["columns"] else slice_.T
                slice_ = slice_[:: -1 if plane["flip_rows"] else 1, :: -1 if plane["flip_columns"] else 1]
                np.testing.assert_array_equal(slice_, panel.image)
                assert tuple(plane["letters"]) == panel.letters
                assert (plane["width"], plane["height"]) == pytest.approx((panel.width, panel.height))


def test_complex_values_are_magnitude_and_phase():
    data = (image(0).data + 1j * image(1).data).astype(np.complex64)
    page = Page(case_report({"result": Volume(data, GRID), "null space": Volume(data, GRID)}))
    parts = page.scene["layers"][0]["parts"]
    assert [(p["part"], p["map"], p["units"]) for p in parts] == [("magnitude", "gray", "1"), ("phase", "turn", "rad")]
    np.testing.assert_allclose(page.values(0, 0)[0], np.abs(data), atol=np.abs(data).max() / 4095)
    np.testing.assert_allclose(page.values(0, 1)[0], np.angle(data), atol=np.pi / 255 * 1.001)
    assert page.scene["layers"][1]["parts"][0]["map"] == "heat"  # a magnitude has no sign


def test_a_series_keeps_its_frames_and_times():
    series = Volume(np.random.default_rng(0).random((3, *SHAPE)), GRID, times_s=(0.0, 0.5, 1.5))
    scene = Page(case_report({"result": series})).scene
    assert (scene["layers"][0]["parts"][0]["shape"][0], scene["times"]) == (3, [0.0, 0.5, 1.5])


@pytest.mark.parametrize(
    "grid",
    [
        SurveyGrid(SHAPE, (1, 1), (1, 1), (0.0, 0.0), (25.0, 0.0), (0.0, 25.0), 0.0, 0.004),
        BeamGrid(SHAPE, (0.0, 0.01), (1.0, 0.5)),
    ],
)
def test_other_grids_have_no_millimetres(grid):
    scene = Page(case_report({"result": image(grid=grid, units="1")})).scene
    assert scene["affine"] is None
    assert len(scene["planes"]) == 3


def test_other_grids_are_interpolated_or_refused():
    fine = AffineGrid.patient((10, 12, 14), (1.5, 1.0, 0.5))
    z, y, x = np.indices(fine.shape).astype(np.float32)
    ramp = Volume(100 * z + 10 * y + x, fine)
    page = Page(case_report({"result": image(units="1"), "classical": ramp}))
    index = np.linalg.inv(fine.matrix) @ GRID.matrix @ [3, 2, 2, 1]
    assert page.values(1)[0, 2, 2, 3] == pytest.approx(index[2] * 100 + index[1] * 10 + index[0], abs=0.5)
    with pytest.raises(ShapeError, match="layer 'beams'"):
        case_report({"result": image(), "beams": image(grid=BeamGrid(SHAPE, (0.0, 0.01), (1.0, 0.5)))})
    with pytest.raises(InputError, match="at least one"):
        case_report({})
    with pytest.raises(InputError, match="'truth' is not among"):
        case_report({"result": image()}, reference="truth")


def test_hostile_text_stays_text():
    result = image(tags={"modality": HOSTILE})
    record = {
        "method": {"name": HOSTILE, HOSTILE: HOSTILE},
        "config": {HOSTILE: {HOSTILE: [HOSTILE]}},
        "models": {HOSTILE: {"name": HOSTILE, "sha256": HOSTILE}},
        "result": {HOSTILE: HOSTILE, "stopped_by": HOSTILE},
        "plan": {"slab": HOSTILE, "device": HOSTILE},
        "notes": [HOSTILE],
        "trace": [{"iteration": 1, HOSTILE: 1.0}, {"iteration": 2, HOSTILE: 2.0}],
        "versions": {HOSTILE: HOSTILE},
        "recon3d": HOSTILE,
        "key": HOSTILE,
    }
    text = case_report(
        {"result": result, HOSTILE: image(1)},
        record,
        title=HOSTILE,
        notes={"result": HOSTILE},
        metrics={HOSTILE: compare(result, image(1), range=(0, 1), mask=None)},
    )
    page = Page(text)
    assert not [tag for tag, _ in page.tags if tag in ("img", "iframe", "object", "link")]
    assert sum(tag == "script" for tag, _ in page.tags) == 4  # scene, two volumes, viewer
    assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]
    assert sum("document.title" in piece for piece in page.text) >= 12
    assert page.scene["layers"][1]["name"] == HOSTILE


def test_nothing_is_loaded_and_only_our_script_may_run():
    text = case_report({"result": image()}, {"method": {"name": "tv"}})
    page = Page(text)
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    for name, key in (("script", "script"), ("style", "style")):
        digest = base64.b64encode(hashlib.sha256(page.scripts[key].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert not re.findall(r"""(?:src|href)=|url\(|@import|https?://|\bfetch\(""", text)


def test_no_names_of_patients_or_files():
    record = {
        "input": {"path": "/data/Mustermann Erika/scan.h5", "sha256": "ab" * 32},
        "config": {"grid": {"like": "Mustermann.nii.gz"}, "models": {"prior": "/models/Erika/x.safetensors"}},
        "models": {"prior": {"name": "../Mustermann/x.safetensors", "sha256": "cd" * 32}},
        "notes": ["Read C:\\Mustermann\\scan.h5 and ~/Erika/y, in 1/mm."],
        "method": {"name": "tv"},
    }
    tags = {"PatientName": "Mustermann", "name": "Mustermann", "dicom": {"PatientID": "4711"}, "modality": "CT"}
    text = case_report({"result": image(tags=tags)}, record)
    for secret in ("Mustermann", "Erika", "4711"):
        assert secret not in text
    assert "in 1/mm." in text
    assert "ab" * 32 in text


def test_a_record_of_any_shape_gives_a_page():
    for record in ({}, {"trace": None, "plan": 3, "method": [], "result": {"residual": None}, "seconds": "long"}):
        assert "<h1>Volume</h1>" in case_report({"result": image()}, record)


def test_large_layers_are_reduced_and_the_page_says_so(monkeypatch):
    monkeypatch.setattr("recon3d.report.scene.MOST_OTHERS", 4 * 3**3)
    page = Page(case_report({"result": image(), "classical": image(1), "uncertainty": image(2)}))
    first, second, spread = (layer["parts"][0] for layer in page.scene["layers"])
    assert tuple(first["shape"]) == (1, *SHAPE)
    assert np.prod(second["shape"]) <= 4 * 3**3
    assert "means of blocks" in second["stored"]
    assert "means of blocks" not in first["stored"]
    assert spread["map"] == "heat"
    assert "no error bar unless it was calibrated" in page.scene["layers"][2]["note"]


def test_a_comparison_treats_all_alike():
    truth, a, b = image(0), image(1), image(2)
    scores = {"tv": compare(a, truth, range=(0, 1), mask=None), "dds": compare(b, truth, range=(0, 1), mask=None)}
    volumes = {"reference": truth, "tv": a, "dds": b}
    page = Page(case_report(volumes, metrics=scores, reference="reference", side_by_side=True, budget=3000))
    scene = page.scene
    assert (scene["side"], scene["reference"], len(scene["layers"])) == (True, 0, 3)
    assert len({str(layer["parts"][0]["shape"]) for layer in scene["layers"]}) == 1
    assert [layer["score"][:4] for layer in scene["layers"]] == ["", "PSNR", "PSNR"]
