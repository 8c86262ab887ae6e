"""Pictures of every page of the built site, in wide and narrow windows, light and dark, and what does not fit into them.

make docs
python tests/examples/site_pictures.py docs/_build/html FOLDER
"""

import base64
import sys
from pathlib import Path

from browsing import Window, installed_browser

SIZES = {"wide": (1280, 900), "narrow": (390, 800)}
TALLEST_PX = 12_000
WIDER = """
const wide = document.documentElement.clientWidth;
const scrolls = (one) => one && (["auto", "scroll"].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
return [document.documentElement.scrollHeight, ...[...document.querySelectorAll("article *")]
  .filter((one) => one.getBoundingClientRect().right > wide + 1 && !scrolls(one))
  .slice(0, 3).map((one) => `${one.tagName} ${one.className} ${one.textContent.trim().slice(0, 60)}`)];
"""
"""The height of the page, and what stands out of the window on the right without a bar to scroll it by."""


def main(site: Path, folder: Path) -> None:
    """Draw all pages, and print what stands out of the window."""
    pages = [
        page
        for page in sorted(site.rglob("*.html"))
        if page.stem not in ("genindex", "py-modindex", "search")
    ]
    for size, shape in SIZES.items():
        with Window(installed_browser(), folder / "blank.html", shape) as window:
            for page in pages:
                for scheme in ("light", "dark"):
                    media = {"name": "prefers-color-scheme", "value": scheme}
                    window._call("Emulation.setEmulatedMedia", features=[media])
                    window.show(page)
                    height, *found = window.evaluate(WIDER)
                    clip = {"x": 0, "y": 0, "width": shape[0], "height": min(height, TALLEST_PX), "scale": 1}
                    drawn = window._call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)[
                        "data"
                    ]
                    name = "-".join(page.relative_to(site).with_suffix("").parts)
                    (folder / f"{name}-{size}-{scheme}.png").write_bytes(base64.b64decode(drawn))
                    if scheme == "light":
                        sys.stdout.writelines(f"{name} {size}: {one}\n" for one in found)


if __name__ == "__main__":
    place = Path(sys.argv[2])
    place.mkdir(parents=True, exist_ok=True)
    (place / "blank.html").write_text("<html></html>")
    main(Path(sys.argv[1]).resolve(), place.resolve())
