"""One visit to Superset in Chromium: SQL Lab runs a query, a chart is looked at. Run by Superset's own Python, which has Selenium.

Arguments: Superset's address, the number of the database, the schema, the number of the chart, the folder for screenshots.
"""

import json
import pathlib
import shutil
import sys

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as seen
from selenium.webdriver.support.ui import WebDriverWait

SECONDS = 60


def chromium() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1400,1000"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


class Visit:
    def __init__(self, browser, address: str, pictures: pathlib.Path):
        self.browser, self.address, self.pictures = browser, address, pictures

    def wait(self, by: str, what: str):
        return WebDriverWait(self.browser, SECONDS).until(seen.presence_of_element_located((by, what)))

    def wait_for_text(self, text: str) -> None:
        WebDriverWait(self.browser, SECONDS).until(lambda browser: text in browser.find_element(By.TAG_NAME, "body").text)

    def picture(self, name: str) -> None:
        self.browser.save_screenshot(str(self.pictures / f"{name}.png"))

    def log_in(self) -> None:
        self.browser.get(f"{self.address}/login/")
        self.wait(By.CSS_SELECTOR, "input[type=password]").send_keys("admin")
        self.browser.find_element(By.CSS_SELECTOR, "input[type=text]").send_keys("admin" + Keys.ENTER)
        WebDriverWait(self.browser, SECONDS).until(lambda browser: "/login" not in browser.current_url)

    def sql_lab(self, database: str, schema: str) -> None:
        query = f"select 'seen in SQL Lab: ' || count(*) || ' orders' as told from {schema}.orders"
        # A permalink opens the editor with a query in it.
        link = self.post("/api/v1/sqllab/permalink", {"dbId": int(database), "name": "a query", "schema": schema, "sql": query, "autorun": True})
        self.browser.get(f"{self.address}/sqllab/p/{link['key']}")
        self.wait(By.CSS_SELECTOR, ".ace_content")
        run = WebDriverWait(self.browser, SECONDS).until(
            seen.element_to_be_clickable((By.XPATH, "//button[contains(., 'Run')]")))
        run.click()
        self.wait_for_text("seen in SQL Lab: 1000 orders")
        self.picture("sql_lab")

    def chart(self, number: str) -> None:
        self.browser.get(f"{self.address}/explore/?slice_id={number}")
        self.wait(By.CSS_SELECTOR, "[data-test='slice-container'], .slice_container")
        self.wait_for_text("shipped")
        self.wait_for_text("Sum of amounts")
        self.picture("chart")

    def post(self, path: str, body: dict) -> dict:
        return self.browser.execute_async_script(
            "const [path, body, done] = arguments;"
            "fetch(path, {method: 'POST', headers: {'Content-Type': 'application/json'}, body}).then(r => r.json()).then(done);",
            path, json.dumps(body))


def main(address: str, database: str, schema: str, chart: str, pictures: str) -> None:
    browser = chromium()
    visit = Visit(browser, address, pathlib.Path(pictures))
    try:
        visit.log_in()
        visit.sql_lab(database, schema)
        visit.chart(chart)
    except Exception:
        visit.picture("failure")
        print(browser.current_url, browser.find_element(By.TAG_NAME, "body").text, file=sys.stderr)
        raise
    finally:
        browser.quit()


if __name__ == "__main__":
    main(*sys.argv[1:])
