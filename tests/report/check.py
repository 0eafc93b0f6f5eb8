"""Opens pages of ``pinlake report`` in Chromium and checks what people see."""

import base64
import csv
import gzip
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, sync_playwright
from serve import served, store_run

ROOT = Path(__file__).resolve().parents[2]
# Without those that replace another for one engine.
QUERIES = [path for path in (ROOT / "queries").glob("*.sql") if "." not in path.stem]
# Scripts, markup, directions and control characters, as clients may send them.
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    '=HYPERLINK("http://example.invalid")',
    "\u202egnp.exe",
    "{{7*7}} ${7*7} `x`",
    "<!-- <script>",
    "東京都新宿区西新宿二丁目の長い名前の場所" * 2,
    "Zalgo Z͑ͫ̓ͪ̂ͫ̽͏̴̙",
    "a" * 300,
]
CONTRACT = """name = "visit"
version = 1
description = "One row for each visit."
identity = ["id"]
[route]
files = ["visit*"]
shape = ["id", "page"]
[[column]]
name = "id"
type = "int64"
required = true
[[column]]
name = "page"
type = "string"
[[column]]
name = "seconds"
type = "float64"
[[column]]
name = "day"
type = "date"
"""
HOSTILE_QUERIES = {
    "hostile_bars": "-- <b>Which page</b> </script><script>alert(2)</script>?\n--\n-- page  <i>its name</i>\n--\n"
    "-- title: <img src=x onerror=alert(3)>\n-- section: <s>Hostile</s>\n"
    'SELECT page AS "<u>page", SUM(seconds) AS seconds FROM visit GROUP BY page',
    "hostile_grid": "-- chart: stacked x=day y=n by=page\nSELECT day, page, COUNT(*) AS n FROM visit "
    "GROUP BY day, page",
    "fails": "-- Does it fail?\nSELECT nothing FROM visit",
    "nothing": "-- Is there anything?\nSELECT page FROM visit WHERE id < 0",
    "mistaken": "-- chart: pie x=page\nSELECT COUNT(*) AS visits, AVG(seconds) AS mean FROM visit",
    "days": "SELECT day, AVG(seconds) AS mean FROM visit GROUP BY day",
    "negative": "SELECT CASE id WHEN 1 THEN 'down' ELSE 'up' END AS way, CASE id WHEN 1 THEN -5 ELSE 3 END AS n "
    "FROM visit WHERE id <= 2",
    "many": "-- title: Ten thousand rows\nSELECT a.id * 1000 + b.id AS number_of, a.page, a.seconds * b.id AS product, "
    "9007199254740993 + a.id AS large FROM visit a CROSS JOIN visit b ORDER BY a.id, b.id LIMIT 10000",
}
# Text in a chart that touches other text.
COLLISIONS = """() => [...document.querySelectorAll("svg[role=img]")].flatMap((svg) => {
  const boxes = [...svg.querySelectorAll("text")].map((text) => [text, text.getBoundingClientRect()]);
  const texts = boxes.filter(([, box]) => box.width);
  const frame = svg.getBoundingClientRect();
  const found = [];
  texts.forEach(([one, a], index) => {
    if (a.left < frame.left - 8 || a.right > frame.right + 8) found.push(`outside: ${one.textContent}`);
    for (const [other, b] of texts.slice(index + 1)) {
      const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (width > 1 && height > 3) found.push(`${one.textContent} / ${other.textContent}`);
    }
  });
  return found;
})"""
ROWS = """(panel) => [...panel.querySelectorAll("tbody tr")].map((row) =>
  [...row.cells].map((cell) => [cell.textContent, cell.className, cell.title]))"""


class Check:
    """The program, the browser, and the pages that were written."""

    def __init__(self, pinlake: str, browser: Browser, work: Path) -> None:
        self.pinlake, self.browser, self.work = pinlake, browser, work

    def run(self, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Runs the program, which must exit with ``code``."""
        ran = subprocess.run(
            [self.pinlake, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
        )
        assert ran.returncode == code, f"{arguments}: exit code {ran.returncode}: {ran.stderr}"
        return ran

    def report(self, name: str, lake: Path, *arguments: str | Path, code: int = 0) -> Path:
        """Writes a page."""
        out = self.work / f"{name}.html"
        self.run("report", "--lake", lake, "--out", out, *arguments, code=code)
        return out

    @contextmanager
    def opened(
        self, page: Path | str, width: int = 1280, now: datetime | None = None, tells: str = "", **options: Any
    ) -> Iterator[Page]:
        """Opens a file or a URL, at another time if ``now`` is given. Nothing may fail, open a dialog, or ask another
        host. ``tells``: what the console may say."""
        url = page if isinstance(page, str) else page.as_uri()
        context: BrowserContext = self.browser.new_context(viewport={"width": width, "height": 900}, **options)
        tab = context.new_page()
        problems: list[str] = []
        tab.on(
            "console",
            lambda message: (
                problems.append(f"console: {message.text}")
                if message.type in ("error", "warning") and not (tells and tells in message.text)
                else None
            ),
        )
        tab.on("pageerror", lambda error: problems.append(f"error: {error}"))
        tab.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        tab.on(
            "request", lambda asked: problems.append(f"request: {asked.url}") if not is_local(asked.url, url) else None
        )
        if now:
            tab.clock.set_fixed_time(now)
        tab.goto(url)
        yield tab
        context.close()
        assert not problems, f"{url}: {problems}"


def is_local(url: str, page: str) -> bool:
    is_of_server = page.startswith("http") and url.startswith(page)
    return url == page or is_of_server or url.startswith(("data:", "blob:"))


def open_tables(tab: Page) -> None:
    """Opens the table of every panel."""
    closed = tab.locator("details.table:not([open]) > summary")
    while closed.count():
        closed.first.click()


def open_everything(tab: Page) -> None:
    """Opens all that can be opened."""
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")


def panels_render(check: Check, page: Path, lake: Path) -> None:
    """Every panel has a chart and its rows; the data of the page is what `analyse` prints."""
    analysed = json.loads(check.run("analyse", "--lake", lake, "--format", "json").stdout)
    for scheme in ("light", "dark"):
        for width in (400, 1280, 2560):
            with check.opened(page, width, color_scheme=scheme) as tab:
                panels = tab.locator(".panel[data-result]")
                assert panels.count() == len(analysed) == len(QUERIES)
                for index in range(panels.count()):
                    panel = panels.nth(index)
                    name = panel.get_attribute("data-result")
                    assert panel.locator("svg[role=img]:visible, .figure:visible").count() >= 1, name
                    data = json.loads(panel.locator("script.data").text_content() or "")
                    assert data == {key: analysed[name][key] for key in ("columns", "rows", "versions")}, name
                    drawn = panel.locator("svg[role=img]:visible")
                    for chart in range(drawn.count()):
                        title, desc = drawn.nth(chart).locator("> title, > desc").all_text_contents()
                        assert len(title) > 10 and len(desc) > 10, name
                tab.screenshot(path=check.work / f"report-{width}-{scheme}.png", full_page=True)
                open_everything(tab)
                collisions = tab.evaluate(COLLISIONS)
                assert not collisions, f"{width}: {collisions}"
                assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
                back = tab.evaluate("getComputedStyle(document.body).backgroundColor")
                assert (back == "rgb(16, 21, 27)") == (scheme == "dark"), back
    assert len(gzip.compress(page.read_bytes())) < 400_000


def scripts_format_as_the_program(check: Check, pages: list[Path]) -> None:
    """Rows that the script renders equal those that the program rendered."""
    for page in pages:
        with check.opened(page) as tab:
            panels = tab.locator(".panel:has(.tools input)")
            assert panels.count() > 2
            open_tables(tab)
            for index in range(panels.count()):
                panel = panels.nth(index)
                rendered = panel.evaluate(ROWS)
                panel.locator(".tools input").fill(" ")
                assert panel.evaluate(ROWS) == rendered, panel.get_attribute("data-result")


def tables_sort_and_filter(check: Check, page: Path) -> None:
    """Sorts by a click, filters while typing, and downloads every row."""
    with check.opened(page) as tab:
        open_tables(tab)
        panel = tab.locator("#result-top_user_by_country")
        data = json.loads(panel.locator("script.data").text_content() or "")
        head = panel.locator("th", has_text="follower_count")
        column = lambda: panel.locator("tbody tr td:nth-child(3)").all_text_contents()  # noqa: E731
        counts = [row[2] for row in data["rows"]]
        for order, expected in (("descending", sorted(counts, reverse=True)), ("ascending", sorted(counts))):
            head.locator("button").click()
            assert head.get_attribute("aria-sort") == order
            assert column() == [f"{count:,}" for count in expected[:100]]
        panel.get_by_role("button", name="Next").click()
        assert column()[0] == f"{sorted(counts)[100]:,}"
        panel.locator("input").fill("FRANCE")
        found = panel.locator("tbody tr td:first-child").all_text_contents()
        assert found and all(name == "France" for name in found), found
        assert f"{len(found)} of {len(data['rows'])} rows" in (panel.locator("output").text_content() or "")
        panel.locator("input").fill("nowhere at all")
        assert "No row contains this text." in (panel.locator("tbody").text_content() or "")
        for kind in ("CSV", "JSON", "Parquet"):
            with tab.expect_download() as download:
                panel.get_by_role("button", name=kind).click()
            file = Path(download.value.path())
            assert download.value.suggested_filename == f"top_user_by_country.{kind.lower()}"
            if kind == "JSON":
                assert json.loads(file.read_text("utf-8")) == data
            elif kind == "Parquet":
                # cli/tests/it reads the same bytes.
                block = panel.locator("script.parquet").text_content() or ""
                assert file.read_bytes() == base64.b64decode(block) and file.read_bytes().endswith(b"PAR1")
            else:
                read = list(csv.reader(io.StringIO(file.read_text("utf-8"))))
                assert read == [
                    data["columns"],
                    *[["" if cell is None else str(cell) for cell in row] for row in data["rows"]],
                ]


def colours_switch(check: Check, page: Path) -> None:
    """The switch changes the colours, by keyboard too."""
    with check.opened(page, color_scheme="light") as tab:
        back = lambda: tab.evaluate("getComputedStyle(document.body).backgroundColor")  # noqa: E731
        light = back()
        tab.focus("#theme")
        tab.keyboard.press("Enter")
        assert back() != light and tab.locator("#theme").text_content() == "Light colours"
        tab.keyboard.press("Enter")
        assert back() == light
        tab.keyboard.press("Control+Home")
        assert tab.locator("#age .stale").count() == 0


def ten_thousand_rows_do_not_stall(check: Check, page: Path) -> None:
    """Every row is reachable; sorting and filtering take less than a second."""
    with check.opened(page) as tab:
        open_tables(tab)
        panel = tab.locator("#result-many")
        assert panel.locator("tbody tr").count() == 100
        for action in (
            lambda: panel.locator("th button").nth(2).click(),
            lambda: panel.locator("th button").nth(1).click(),
            lambda: panel.locator("input").fill("1"),
            lambda: panel.locator("input").fill(""),
        ):
            begun = time.monotonic()
            action()
            assert time.monotonic() - begun < 1.5
        panel.locator("th button").nth(0).click()
        while panel.get_by_role("button", name="Next").is_enabled():
            panel.get_by_role("button", name="Next").click()
        assert "Page 100 of 100" in (panel.locator(".pager").text_content() or "")
        data = json.loads(panel.locator("script.data").text_content() or "")
        assert len(data["rows"]) == 10_000
        # An integer that a double cannot hold.
        large = panel.locator("tbody tr td:nth-child(4)").all_text_contents()
        assert set(large) <= {f"{row[3]:,}" for row in data["rows"]}, large[:3]


def hostile_texts_are_shown(check: Check, page: Path) -> None:
    """Hostile texts are text, in charts, tables and titles, at every width."""
    for width in (400, 1280):
        with check.opened(page, width) as tab:
            open_tables(tab)
            assert tab.locator("script:not([type])").count() == 1
            assert tab.locator("img, main b, main i, main u, main s").count() == 0
            text = tab.inner_text("#result-hostile_bars")
            for shown in (HOSTILE[0], HOSTILE[1], "\\u{202e}gnp.exe", "<img src=x onerror=alert(3)>"):
                assert shown in text, shown
            collisions = [found for found in tab.evaluate(COLLISIONS) if "Zalgo" not in found]
            assert not collisions, collisions
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
            tab.hover("#result-hostile_bars svg:visible rect.s1 >> nth=0")


def the_state_says_what_history_says(check: Check, page: Path, lake: Path) -> None:
    """What became of the records, day by day, equals the sums of `pinlake history`."""
    with check.opened(page) as tab:
        panel = tab.locator("[data-table=records]")
        shown = json.loads(panel.locator("script.data").text_content() or "")
        rows = [dict(zip(shown["columns"], row, strict=True)) for row in shown["rows"]]
        datasets = {row["dataset"] for row in rows}
        assert len(datasets) == 3
        for dataset in datasets:
            ran = check.run("history", "--lake", lake, "--dataset", dataset, "--format", "json")
            said = json.loads(ran.stdout)[dataset]
            commits = [dict(zip(said["columns"], row, strict=True)) for row in said["rows"]]
            assert len(commits) > 1
            own = [row for row in rows if row["dataset"] == dataset]
            for column, recorded in (("accepted", "read"), ("inserted", "inserted"), ("duplicates", "duplicates")):
                expected = sum(commit[recorded] or 0 for commit in commits)
                assert sum(row[column] for row in own) == expected, (dataset, column)
            quarantined = sum(row["quarantined"] for row in own)
            everything = sum(row["accepted"] for row in own) + quarantined
            assert quarantined > 0 and len(own) == 1
            assert own[0]["% quarantined"] == round(quarantined / everything * 100, 2)
        panel.locator("details.table summary").click()
        panel.locator("th", has_text="inserted").get_by_role("button").click()
        assert panel.locator("tbody tr").count() == len(rows)
        assert tab.locator(".pipeline li").count() == 7


def commands_are_copied(check: Check, page: Path, lake: Path) -> None:
    """The command that redrives is copied as it is shown, and runs."""
    with check.opened(page, permissions=["clipboard-read", "clipboard-write"]) as tab:
        tab.locator("details.redrive summary").click()
        command = tab.locator(".redrive .command", has_text="--dataset user")
        command.get_by_role("button", name="Copy").click()
        command.get_by_role("button", name="Copied").wait_for()
        words = shlex.split(tab.evaluate("navigator.clipboard.readText()"))
        assert words == ["pinlake", "redrive", "--lake", str(lake), "--dataset", "user"], words
        assert json.loads(check.run(*words[1:]).stdout)["left"] > 0


def failures_are_shown(check: Check, page: Path) -> None:
    """A failed query, an empty result and a mistaken declaration say so; the rest renders."""
    with check.opened(page) as tab:
        assert "This query failed." in tab.inner_text("#result-fails")
        assert "fails.sql" in tab.inner_text("#result-fails") and "nothing" in tab.inner_text("#result-fails")
        assert "No rows. The query ran" in tab.inner_text("#result-nothing")
        assert 'unknown kind "pie"' in tab.inner_text("#result-mistaken")
        assert tab.locator("#result-mistaken .figure").count() == 2
        assert tab.locator("#result-days polyline:visible").count() == 1
        assert tab.locator("#result-negative rect:visible").count() >= 2
        assert "7 of 8" in tab.inner_text(".overview")
        assert "visit: wrong_type" in (tab.locator("[aria-labelledby=quarantine-h] svg:visible").text_content() or "")


def an_empty_lake_says_so(check: Check, page: Path) -> None:
    """A page without any row is complete and says why it is empty."""
    with check.opened(page, 400) as tab:
        assert "This lake has no rows yet." in tab.inner_text("main")
        assert tab.locator(".empty").count() >= 10
        assert tab.locator("#state tbody tr").count() == 3


def an_old_page_says_so(check: Check, page: Path) -> None:
    """After a day, a page tells that newer rows are not in it."""
    with check.opened(page, now=datetime.now(UTC) + timedelta(days=3)) as tab:
        assert "3 days ago: newer rows are not in it" in tab.inner_text("#age")
        assert tab.locator("#age .stale").count() == 1


def works_without_a_script_and_on_paper(check: Check, page: Path) -> None:
    """Without JavaScript the page is complete, and it prints."""
    with check.opened(page, java_script_enabled=False) as tab:
        open_tables(tab)
        panel = tab.locator("#result-top_user_by_country")
        assert panel.locator("tbody tr").count() == 100 and "The first 100 of" in panel.inner_text()
        assert tab.locator("button, input").count() == 0
        assert len(tab.pdf()) > 50_000
    with check.opened(page) as tab:
        tab.emulate_media(media="print")
        assert tab.locator(".tools:visible, #theme:visible, summary:visible").count() == 0
        assert tab.locator("svg[role=img]:visible").count() >= 9
        assert tab.locator("#result-users_joined_by_year tbody tr").first.is_visible()


def is_accessible(check: Check, pages: list[Path]) -> None:
    """axe-core finds nothing serious."""
    for page in pages:
        for scheme in ("light", "dark"):
            with check.opened(page, color_scheme=scheme) as tab:
                open_everything(tab)
                found = Axe().run(tab).response["violations"]
                serious = [each for each in found if each["impact"] in ("serious", "critical")]
                told = [
                    (each["id"], each["nodes"][0]["html"][:200], each["nodes"][0].get("failureSummary"))
                    for each in serious
                ]
                assert not serious, f"{page.name} {scheme}: {told}"


def a_slider_goes_through_the_runs(tab: Page, panel: Locator) -> None:
    """By keyboard: the slider tells the run, its value and versions, marks its point, and leads to its page."""
    history = panel.locator("details.history")
    slider = history.get_by_role("slider", name="Run")
    slider.focus()
    assert "2022-10-19 12:00 UTC" in (slider.get_attribute("aria-valuetext") or "")
    assert slider.input_value() == "1" and history.get_by_role("link", name="Show this run").count() == 0
    place = lambda: history.locator("svg:visible .mark").get_attribute("cx")  # noqa: E731
    newest = place()
    tab.keyboard.press("ArrowLeft")
    told = slider.get_attribute("aria-valuetext") or ""
    assert told.startswith("2022-10-19 11:00 UTC: ") and "oldest kept" in told and "pin" in told, told
    assert history.locator("tr.selected").inner_text().startswith("2022-10-19 11:00 UTC")
    assert float(place() or 0) < float(newest or 0)
    history.get_by_role("link", name="Show this run").click()
    assert "These are the results of an earlier run." in tab.inner_text("main")
    assert history.get_attribute("open") is not None and slider.input_value() == "0"
    tab.get_by_role("link", name="latest run").click()
    panel.locator("details.history summary").click()


def the_cost_is_that_of_the_command(check: Check, tab: Page) -> None:
    """The command beside the estimate gives the same figure."""
    panel = tab.locator("article:has(#cost-h)")
    words = shlex.split(panel.locator(".command code").text_content() or "")
    bill = json.loads(check.run(*words[1:], "--format", "json").stdout)["bills"]["default"]
    assert f"${bill['usd_per_month']:,.2f}" in panel.inner_text()


def a_served_page_works_under_its_policy(check: Check, program: Path, lake: Path) -> None:
    """The page of the function: results, history, earlier runs, downloads; what it says equals the JSON."""
    queries = {file.stem: file.read_text("utf-8") for file in (ROOT / "queries").glob("*.sql") if "." not in file.stem}
    analysed = json.loads(check.run("analyse", "--lake", lake, "--format", "json").stdout)
    earlier = {name: result | {"rows": result["rows"][:-1]} for name, result in analysed.items()}
    store_run(lake, "20221019T110000Z-a", earlier, queries)
    store_run(lake, "20221019T120000Z-b", analysed, queries)
    result = analysed["top_user_by_country"]
    watermarks = lake / "state" / "watermarks" / "stream"
    watermarks.mkdir(parents=True)
    (watermarks / "0.json").write_text("{}", "utf-8")
    with served(program, lake, PINLAKE_ANONYMOUS="true") as url:
        for scheme in ("light", "dark"):
            for width in (400, 1280, 2560):
                with check.opened(url, width, color_scheme=scheme) as tab:
                    assert tab.locator("svg[role=img]:visible").count() >= 9
                    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
                    tab.screenshot(path=check.work / f"served-{width}-{scheme}.png", full_page=True)
        with check.opened(url) as tab:
            began = tab.evaluate("performance.getEntriesByType('paint').at(-1).startTime")
            assert began < 1000, f"{began:.0f} ms until the page is painted"
            response = tab.request.get(f"{url}v1/results/top_user_by_country")
            assert response.json()["rows"] == result["rows"] and response.headers["etag"]
            again = tab.request.get(url, headers={"If-None-Match": tab.request.get(url).headers["etag"]})
            assert again.status == 304
            block = tab.locator("#result-top_user_by_country script.data").text_content() or ""
            assert json.loads(block)["rows"] == result["rows"]
            panel = tab.locator("#result-top_user_by_country")
            assert panel.locator("svg.spark").is_visible() and "History, 2 runs" in panel.inner_text()
            panel.locator("details.history summary").click()
            assert panel.locator("details.history tbody tr").count() == 2
            a_slider_goes_through_the_runs(tab, panel)
            panel.locator("details.table summary").click()
            panel.locator("input[type=search]").fill("zzzz")
            assert "No row contains this text." in panel.inner_text()
            with tab.expect_download() as started:
                panel.locator(".facts a", has_text="CSV").click()
            text = Path(started.value.path()).read_text("utf-8")
            assert len(list(csv.reader(io.StringIO(text)))) == len(result["rows"]) + 1
            tab.get_by_role("link", name="earlier run").click()
            assert "These are the results of an earlier run." in tab.inner_text("main")
            assert json.loads(panel.locator("script.data").text_content() or "")["rows"] == result["rows"][:-1]
            tab.get_by_role("link", name="latest run").click()
            assert "earlier run." not in tab.inner_text("main")
            open_everything(tab)
            assert not tab.evaluate(COLLISIONS)
            found = Axe().run(tab).response["violations"]
            assert not [each["id"] for each in found if each["impact"] in ("serious", "critical")]
            the_cost_is_that_of_the_command(check, tab)
    key = json.loads(check.run("key", "new", "--name", "wall").stdout)
    refused = "the server responded with a status of 401"
    with served(program, lake, PINLAKE_API_KEYS=key["entry"]) as url, check.opened(url, tells=refused) as tab:
        tab.get_by_label("API key of this report").fill("plk_wrong")
        tab.get_by_role("button").click()
        assert "This key is not valid here." in tab.inner_text("main")
        tab.screenshot(path=check.work / "sign-in.png")
        assert not [each["id"] for each in Axe().run(tab).response["violations"] if each["impact"] == "serious"]
        tab.get_by_label("API key of this report").fill(key["key"])
        tab.get_by_role("button").click()
        tab.wait_for_selector("#state")
        records = tab.request.get(f"{url}v1/quarantine?limit=200").json()["records"]
        panel = tab.locator("[data-result=quarantine]")
        assert panel.locator("tbody tr").count() == min(len(records), 100) > 0
        assert records[0]["reason"] in panel.inner_text()
        tab.screenshot(path=check.work / "served-quarantine.png", full_page=True)


def the_page_of_a_stack_opens(check: Check, described: dict[str, Any]) -> None:
    """The page at the function URL of a running stack, whatever is in its lake."""
    with check.opened(described["report_url"]) as tab:
        assert tab.locator("#state tbody tr").count() >= 3
        tab.wait_for_function("performance.getEntriesByType('paint').length > 0")
        painted = tab.evaluate("performance.getEntriesByType('paint').at(-1).startTime")
        print(f"report: the page of the stack is painted after {painted:.0f} ms")


def main(pinlake: str, function: str, chromium: str, work: Path) -> None:
    begun = time.monotonic()
    for old in ("lake", "rows", "hostile", "empty", "queries", "contracts"):
        shutil.rmtree(work / old, ignore_errors=True)
    for new in ("hostile", "empty", "queries", "contracts"):
        (work / new).mkdir(parents=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"] if os.geteuid() == 0 else [], timeout=60_000
        )
        check = Check(pinlake, browser, work)
        check.run("generate", "--out", work / "rows", "--rows", "2000", "--dirty", "0.05", "--seed", "7")
        check.run("load", "--lake", work / "lake", work / "rows")
        check.run("load", "--lake", work / "lake", work / "rows")
        page = check.report("report", work / "lake")

        (work / "contracts" / "visit.toml").write_text(CONTRACT, "utf-8")
        for name, sql in HOSTILE_QUERIES.items():
            (work / "queries" / f"{name}.sql").write_text(sql, "utf-8")
        rows = [
            {
                "id": number,
                "page": HOSTILE[number % len(HOSTILE)],
                "seconds": number / 7,
                "day": f"2024-01-{1 + number % 30:02}",
            }
            for number in range(1, 121)
        ]
        rows.append({"id": "no number", "page": HOSTILE[0]})
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (work / "hostile" / "visit.ndjson").write_text(lines, "utf-8")
        contracts = ("--datasets", work / "contracts")
        check.run("load", "--lake", work / "hostile" / "lake", *contracts, work / "hostile" / "visit.ndjson")
        own = (*contracts, "--queries", work / "queries", "--title", HOSTILE[0])
        hostile = check.report("hostile", work / "hostile" / "lake", *own)
        check.report("strict", work / "hostile" / "lake", *own, "--strict", code=1)
        empty = check.report("empty", work / "empty")

        panels_render(check, page, work / "lake")
        scripts_format_as_the_program(check, [page, hostile])
        tables_sort_and_filter(check, page)
        colours_switch(check, page)
        ten_thousand_rows_do_not_stall(check, hostile)
        hostile_texts_are_shown(check, hostile)
        the_state_says_what_history_says(check, page, work / "lake")
        commands_are_copied(check, page, work / "lake")
        failures_are_shown(check, hostile)
        an_empty_lake_says_so(check, empty)
        an_old_page_says_so(check, page)
        works_without_a_script_and_on_paper(check, page)
        is_accessible(check, [page, hostile, empty])
        a_served_page_works_under_its_policy(check, Path(function), work / "lake")
        if stack := os.environ.get("PINLAKE_STACK"):
            the_page_of_a_stack_opens(check, json.loads(Path(stack).read_text("utf-8")))
        browser.close()
    print(f"report: pages render, sort, filter and print in Chromium ({time.monotonic() - begun:.0f} s)")


if __name__ == "__main__":
    _, program, function, chromium, work = sys.argv
    main(program, function, chromium, Path(work).resolve())
