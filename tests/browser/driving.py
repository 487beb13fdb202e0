"""What the browser tests have in common besides fixtures."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from serving import ROOT

Open = Callable[..., Page]

READY_MS = 120_000

AXE = ROOT / "static" / "node_modules" / "axe-core" / "axe.min.js"
RUN_AXE = """async () => {
  const { violations, passes } = await axe.run(document);
  if (passes.length < 10) throw new Error('axe has hardly looked');
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
}"""


def ready(page: Page) -> None:
    """Wait until the page can answer and does not."""
    expect(page.locator("[data-state=ready]")).to_be_attached(timeout=READY_MS)


def violations(page: Page) -> list[str]:
    """What axe has against the page as it is."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    return list(page.evaluate(RUN_AXE))


def violations_in_both_themes(page: Page) -> list[str]:
    found: list[str] = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found += [f"{scheme}: {line}" for line in violations(page)]
    return found
