"""The viewer in a real browser: what is drawn is what is read out, and every way to move moves the right thing."""

from __future__ import annotations

import re

import numpy as np
import pytest

from recon3d.grid import AffineGrid
from recon3d.report.html import case_report
from recon3d.volume import Volume

SHAPE = (9, 11, 13)
GRID = AffineGrid.patient(SHAPE, (3.0, 2.0, 1.5))
AXIAL, CORONAL, SAGITTAL = (f"#panels figure:nth-child({k}) canvas" for k in (1, 2, 3))
HOSTILE = '</script><script>document.title="taken"</script><img src=x onerror=document.title="taken">'
WINDOW = {"width": 1280, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
ROWS = "return [...document.querySelectorAll('#values tr')].map(r => [r.cells[0].innerText, r.cells[1].innerText])"
NAMES = "return [...document.querySelectorAll('#panels .line button')].map(b => b.textContent)"
SET = "const [id, v, kind] = arguments, e = document.getElementById(id); e.value = v; e.dispatchEvent(new Event(kind))"
Z, Y, X = np.indices(SHAPE).astype(np.float32)
RAMP = Volume(100 * Z + 10 * Y + X, GRID, "HU")


@pytest.fixture
def show(browser, tmp_path):
    """Open a report of layers, in a window of one size and light colours."""

    def opened(layers, **options):
        browser.command("Emulation.setEmulatedMedia", media="", features=[])
        browser.command("Emulation.setDeviceMetricsOverride", **WINDOW)
        page = tmp_path / "page.html"
        page.write_text(case_report(layers, **options), encoding="utf-8")
        browser.open(page)
        return browser

    yield opened
    assert browser.errors() == []


def at(browser):
    """(z, y, x) of the crosshair, its (x, y, z) in mm, and the values there by layer."""
    (_, mm), (_, index), *values = [
        (name, [float(n) for n in re.findall(r"[-\d.]+", text.replace("\N{MINUS SIGN}", "-"))])
        for name, text in browser.run(ROWS)
    ]
    return tuple(map(int, index)), mm, {name: numbers[0] for name, numbers in values}


def pixel(browser, selector, u, v):
    script = (
        "const c = document.querySelector(arguments[0]); return [...c.getContext('2d').getImageData("
        "Math.floor(arguments[1] * c.width), Math.floor(arguments[2] * c.height), 1, 1).data].slice(0, 3)"
    )
    return browser.run(script, selector, u, v)


def picture(browser, selector=AXIAL):
    return browser.run("return document.querySelector(arguments[0]).toDataURL()", selector)


def test_the_crosshair_says_what_is_drawn_there(show):
    browser = show({"result": RAMP})
    browser.press("c", "s")  # no lines in the way, square voxels
    browser.run(SET, "high", 1000, "input")
    browser.run(SET, "low", -100, "input")
    for selector, fixed in ((AXIAL, 0), (CORONAL, 1), (SAGITTAL, 2)):
        for u, v in ((0.5, 0.5), (0.42, 0.38), (0.61, 0.57)):
            before = at(browser)[0]
            browser.click(selector, u, v)
            index, mm, values = at(browser)
            assert index[fixed] == before[fixed]
            assert values == {"result": 100 * index[0] + 10 * index[1] + index[2]}
            np.testing.assert_allclose(mm, (GRID.matrix @ [*index[::-1], 1])[:3], atol=0.051)
            assert pixel(browser, selector, u, v) == pytest.approx([(values["result"] + 100) / 1100 * 255] * 3, abs=1)


def test_planes_are_linked_and_stand_as_radiologists_expect(show):
    browser = show({"result": RAMP})
    browser.click(AXIAL, 0.4, 0.45)
    (z, y, x), _, _ = at(browser)
    browser.click(AXIAL, 0.6, 0.6)
    right = at(browser)[0]
    assert right[0] == z
    assert right[1] > y  # rows of the stored patient run to the back, the bottom of the picture
    assert right[2] > x  # and columns to the left, the right of the picture
    captions = browser.run("return [...document.querySelectorAll('#panels figcaption')].map(c => c.innerText)")
    for caption, count, total in zip(captions, right, SHAPE, strict=True):
        assert f"{count + 1} / {total}" in caption
    browser.click(CORONAL, 0.5, 0.25)
    assert at(browser)[0][0] > right[0]  # the head is at the top
    browser.click(AXIAL, 0.4, 0.4, to=(0.6, 0.6))
    assert at(browser)[0][1:] == right[1:]  # a drag ends where a click there would


def test_wheel_sliders_and_keys_move_the_slices(show):
    browser = show({"result": RAMP})
    assert at(browser)[0] == (4, 5, 6)
    browser.wheel(AXIAL, 2)
    assert at(browser)[0] == (6, 5, 6)
    browser.wheel(SAGITTAL, -3)
    assert at(browser)[0] == (6, 5, 3)
    browser.focus(AXIAL)
    browser.press("PageDown", "ArrowRight", "ArrowRight", "ArrowUp")
    assert at(browser)[0] == (5, 4, 5)
    browser.press("End")
    assert at(browser)[0] == (8, 4, 5)
    browser.press("PageUp", "Home")
    assert at(browser)[0] == (0, 4, 5)
    browser.focus("#panels figure:nth-child(2) input")
    browser.press("ArrowRight", "ArrowRight")
    assert at(browser)[0] == (0, 6, 5)
    assert "Coronal slice 7 of 11" in browser.run("return document.querySelector(arguments[0]).ariaLabel", CORONAL)
    browser.press("r")
    assert at(browser)[0] == (4, 5, 6)


def test_layers_by_button_and_key(show):
    other = Volume(RAMP.data[:, ::-1].copy(), GRID, "HU")
    browser = show({"result": RAMP, "classical": other, "uncertainty": RAMP, "difference": other})
    seen = [picture(browser)]
    for key in "234":
        browser.press(key)
        seen.append(picture(browser))
    assert len(set(seen)) == 4
    browser.press("[", "[", "[")
    assert picture(browser) == seen[0]
    browser.run("[...document.querySelectorAll('#bar button')].find(b => b.textContent === 'classical').click()")
    browser.settle()
    assert picture(browser) == seen[1]
    pressed = browser.run("return [...document.querySelectorAll('#bar [aria-pressed=true]')].map(b => b.textContent)")
    assert pressed == ["Three planes", "classical"]
    assert set(at(browser)[2]) == {"result", "classical", "uncertainty", "difference"}


def test_window_by_number_drag_preset_and_strip(show):
    browser = show({"result": RAMP})
    limits = "return [Number(document.getElementById('low').value), Number(document.getElementById('high').value)]"
    assert browser.run(limits) == [-350, 450]
    first = picture(browser)
    browser.click(AXIAL, 0.3, 0.5, to=(0.6, 0.5), button=2)  # wider
    low, high = browser.run(limits)
    assert (high - low) > 1.2 * 800
    assert (high + low) / 2 == pytest.approx(50, abs=1)
    browser.click("#scale", (450 + 1024) / 4095, 0.6, to=(0.8, 0.6))
    assert browser.run(limits)[1] > high or browser.run(limits)[0] != low
    browser.run(SET, "preset", "Lung", "change")
    browser.settle()
    assert browser.run(limits) == [-1350, 150]
    browser.press("r")
    assert browser.run(limits) == [-350, 450]
    assert picture(browser) == first


def test_zoom_by_wheel_key_and_fingers(show):
    browser = show({"result": RAMP})
    first = picture(browser), picture(browser, SAGITTAL)
    browser.press("+")
    assert picture(browser) != first[0]
    assert picture(browser, SAGITTAL) != first[1]
    browser.press("-")
    assert (picture(browser), picture(browser, SAGITTAL)) == first
    browser.touch(AXIAL, ((0.3, 0.4), (0.6, 0.6)))
    assert at(browser)[0] != (4, 5, 6)  # one finger moves the crosshair
    moved = picture(browser)
    where = at(browser)[0]
    browser.touch(AXIAL, ((0.45, 0.5), (0.2, 0.5)), ((0.55, 0.5), (0.8, 0.5)))
    assert picture(browser) != moved
    place = at(browser)[0]
    browser.press("r")
    assert picture(browser) == first[0]
    assert place[0] == where[0]


def test_series_and_complex_parts(show):
    frames = np.stack([RAMP.data * k for k in (1, 2, 3)])
    browser = show({"result": Volume(frames * np.exp(1j * 0.5), GRID, times_s=(0.0, 0.25, 1.0))})
    assert browser.text("#moment") == "frame 2 / 3, 0.250 s"
    middle = picture(browser)
    values = at(browser)[2]
    assert values["result, magnitude"] == pytest.approx(2 * 456, abs=0.5)
    assert values["result, phase"] == pytest.approx(0.5, abs=0.02)
    browser.press(".")
    assert browser.text("#moment") == "frame 3 / 3, 1.000 s"
    assert at(browser)[2]["result, magnitude"] == pytest.approx(3 * 456, abs=0.5)
    browser.press(",")
    assert picture(browser) == middle
    browser.press("m")
    assert picture(browser) != middle
    assert "phase" in browser.run("return document.querySelector(arguments[0]).ariaLabel", AXIAL)


def test_methods_side_by_side_share_everything(show):
    brighter = Volume(RAMP.data + 100, GRID, "HU")
    browser = show({"reference": RAMP, "tv": brighter, "dds": RAMP}, reference="reference", side_by_side=True)
    panels = [f"#panels figure:nth-child({k}) canvas" for k in (1, 2, 3)]
    assert browser.run("return document.querySelectorAll('#panels canvas').length") == 3
    assert picture(browser, panels[0]) == picture(browser, panels[2]) != picture(browser, panels[1])
    browser.wheel(panels[1], 3)
    browser.press("c", "s", "d")
    assert browser.text("#place").startswith("Axial 8 / 9")
    dark, bright = pixel(browser, panels[2], 0.5, 0.5), pixel(browser, panels[1], 0.5, 0.5)
    assert max(dark) < 20  # no difference
    assert bright[0] > 100 > bright[2]  # more than the reference: orange
    browser.press("v")
    assert browser.run(NAMES) == ["Axial", "Coronal", "Sagittal"]


def test_hostile_text_does_nothing(show):
    record = {"method": {"name": HOSTILE}, "notes": [HOSTILE], "trace": [{HOSTILE: 1.0}, {HOSTILE: 2.0}]}
    tagged = RAMP.with_data(RAMP.data, tags={"modality": HOSTILE})
    browser = show({"result": tagged, HOSTILE: RAMP}, record=record, title=HOSTILE, notes={"result": HOSTILE})
    assert browser.run("return document.title") == HOSTILE
    assert browser.text("h1") == HOSTILE
    assert HOSTILE in browser.text(".cards")
    assert HOSTILE in browser.text("#bar")
    assert HOSTILE in browser.text("#remark")
    assert browser.run("return document.images.length") == 0


def test_phone_print_and_themes(show):
    layers = dict.fromkeys(("result", "classical", "reference", "difference from reference", "uncertainty"), RAMP)
    record = {"method": {"name": "tv", "iterations": 9}, "config": {"run": {"seed": 1}}, "key": "ab" * 32}
    browser = show(layers, record=record)
    paper = "return getComputedStyle(document.body).backgroundColor"
    light = browser.run(paper)
    browser.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    dark = browser.run(paper)
    assert light != dark
    browser.click("#theme")
    assert browser.run(paper) == light
    browser.command("Emulation.setEmulatedMedia", media="print", features=[])
    hidden = "return getComputedStyle(document.querySelector(arguments[0])).display === 'none'"
    assert browser.run(hidden, "#panels input")
    assert browser.run(hidden, ".help")
    assert not browser.run(hidden, AXIAL)
    browser.command("Emulation.setEmulatedMedia", media="", features=[])
    browser.command("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    browser.settle()
    assert browser.run("return document.documentElement.scrollWidth") <= 360
    widths = "return [...document.querySelectorAll('#panels canvas')].map(c => c.getBoundingClientRect().width)"
    first, second, _ = browser.run(widths)
    assert first > 1.9 * second
    browser.click("#panels figure:nth-child(2) .line button")
    first, second, _ = browser.run(widths)
    assert second > 1.9 * first


def test_every_image_and_control_has_a_name(show):
    browser = show({"result": RAMP, "reference": RAMP}, reference="reference")
    script = """return [...document.querySelectorAll('canvas, input, select, button, svg, img')].filter(e =>
        !(e.ariaLabel || e.alt || e.textContent.trim() || e.labels && e.labels.length)).map(e => e.outerHTML)"""
    assert browser.run(script) == []
