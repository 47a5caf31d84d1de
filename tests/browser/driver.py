"""Chromium, driven: for the tests of pages, and for the picture of one."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip


class Browser:
    """What the tests ask of a page."""

    def __init__(self, driver: Any, folder: Path) -> None:
        self.driver, self.folder, self.pages = driver, folder, 0

    def open(self, html: str, *, width: int = 1280, theme: str = "light", script: bool = True, at: str = "") -> None:
        """Show a page as a file of its own; what was logged before is forgotten."""
        self.pages += 1
        file = self.folder / f"page-{self.pages}.html"
        file.write_text(html, encoding="utf-8")
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.resize(width)
        self.scheme(theme)
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})
        self.driver.get(file.as_uri() + at)

    def resize(self, width: int, height: int = 900, scale: float = 1.0) -> None:
        """The window in CSS pixels. scale: pixels of the screen a CSS pixel."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def scheme(self, theme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})

    def run(self, code: str, *values: Any) -> Any:
        return self.driver.execute_script(code, *values)

    def texts(self, selector: str) -> list[str]:
        """Texts of what a selector finds and a reader sees."""
        code = "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).map(e => e.textContent.trim())"
        return self.run(code, selector)

    def click(self, selector: str, place: int = 0) -> None:
        self.run("document.querySelectorAll(arguments[0])[arguments[1]].click()", selector, place)

    def type(self, selector: str, words: str) -> None:
        self.run(
            "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event(e.tagName === 'SELECT' ? 'change' : 'input'))", selector, words,
        )  # fmt: skip

    def press(self, key: str) -> None:
        """A key for whatever has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver, duration=0).send_keys(key).perform()

    def names(self) -> list[tuple[str, str]]:
        """Role and accessible name of everything that can be used or read as one thing."""
        tree = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        kinds = {"button", "checkbox", "combobox", "searchbox", "link", "img", "image", "region", "group", "navigation"}
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree
            if not node.get("ignored") and node.get("role", {}).get("value") in kinds
        ]

    def complaints(self) -> list[str]:
        """What the console has said since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses that the page has asked for since it was opened."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        asked = (m["params"] for m in messages if m["method"] == "Network.requestWillBeSent")
        return [each["request"]["url"] for each in asked if not each["documentURL"].startswith("chrome:")]  # a new window's own

    def wait(self, holds: Callable[[], bool], seconds: float = 3.0) -> None:
        stop = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < stop, "it never came true"
            time.sleep(0.02)


class NoBrowser(Exception):
    """Why there is no Chromium here."""


def start(profile: Path) -> Any:
    """A driver of a Chromium without a window; quit it.

    Args:
        profile: an empty folder that it may fill.

    Raises:
        NoBrowser: something is not installed, or does not start.
    """
    try:
        from selenium import webdriver
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        raise NoBrowser("selenium is not installed") from None
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")]
    binary, driver = next(filter(None, found), None), shutil.which("chromedriver")
    if binary is None or driver is None:
        raise NoBrowser(f"{'Chromium' if binary is None else 'chromedriver'} is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    for flag in (*FLAGS, *root, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    try:
        return webdriver.Chrome(options=options, service=Service(driver))
    except WebDriverException as error:
        raise NoBrowser(f"Chromium does not start: {str(error).splitlines()[0]}") from None
