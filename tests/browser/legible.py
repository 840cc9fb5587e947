"""What keeps a reader from a text: it is cut off, it touches another, it does not look like a link.

Each function returns what it finds on a page as it is shown: nothing, if all can be read.
"""

from playwright.sync_api import Page

# Of each word, picture and formula: the first box around it that cuts it, unless that box scrolls
# under a bar. The browser of the tests shows only the bars that a page itself draws.
CUT = r"""([root, scrolls]) => {
  const found = [];

  const edges = (node, start, end) => {
    if (node.nodeType !== 3) return node.getBoundingClientRect();
    const range = document.createRange();
    range.setStart(node, start);
    range.setEnd(node, end);
    return range.getBoundingClientRect();
  };

  const cutBy = (box, {left, right}) => {
    for (; box !== document.body; box = box.parentElement) {
      const {overflowX, borderTopWidth, borderBottomWidth} = getComputedStyle(box);
      const edge = box.getBoundingClientRect();
      if (overflowX === "visible" || (right < edge.right + 1 && left > edge.left - 1)) continue;
      const bar = box.offsetHeight - box.clientHeight
        - parseFloat(borderTopWidth) - parseFloat(borderBottomWidth);
      return scrolls && overflowX !== "hidden" && bar >= 4 ? "" : `${box.tagName}.${box.className}`;
    }
    return right > innerWidth + 1 || left < -1 ? "the page's edge" : "";
  };

  const all = document.createTreeWalker(document.querySelector(root), NodeFilter.SHOW_ALL);
  while (all.nextNode()) {
    const node = all.currentNode, box = node.parentElement, text = node.nodeType === 3;
    if (!text && !node.matches?.("img, svg, mjx-container")) continue;
    if (!box.checkVisibility({visibilityProperty: true})) continue;
    if (box.closest("mjx-assistive-mml, .visually-hidden, svg")) continue;
    // Spaces at the end of a line may hang over the edge.
    const parts = text ? node.data.matchAll(/\S+/g) : [{0: node.tagName}];
    if (text && !cutBy(box, edges(node, 0, node.length))) continue;
    for (const {0: part, index} of parts) {
      const by = cutBy(box, edges(node, index, index + part.length));
      if (by) found.push(`${part} by ${by}`);
    }
  }
  return found;
}"""

TOUCHING = """() => [...document.querySelectorAll("tr")].filter(row => {
  const sides = [...row.cells].filter(cell => cell.innerText.trim()).map(cell => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return range.getBoundingClientRect();
  });
  return sides.some((side, place) => place && side.left - sides[place - 1].right < 6);
}).map(row => row.innerText)"""

UNMARKED = """() => [...document.querySelectorAll(".bd-article :is(p, li, td, dd) a[href]")].filter(
  link => link.innerText.trim() && !getComputedStyle(link).textDecorationLine.includes("underline")
).map(link => link.innerText)"""


def cut(page: Page, root: str, scrolls: bool = True) -> list[str]:
    """Return what is cut off inside the element ``root``, and by what.

    A box that scrolls sideways under a bar cuts nothing, unless ``scrolls`` is False: on paper.
    """
    return page.evaluate(CUT, [root, scrolls])


def touching_cells(page: Page) -> list[str]:
    """Return the rows of tables in which two texts are no wider apart than two words."""
    return page.evaluate(TOUCHING)


def unmarked_links(page: Page) -> list[str]:
    """Return the links in a page's text that only their colour tells apart."""
    return page.evaluate(UNMARKED)
