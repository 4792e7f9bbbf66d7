"""Offers that one shelf holds, sorted into lanes by the clauses that past requests missed.

A shelf begins as one lane. A request that looks at many offers of a lane in vain gives the lane its limits: from then
on each offer lies in the lane of the first of those limits that it misses, or in the lane of those that miss none, so
that what the best of a lane reaches misses what the next such request needs. A search holds a request against that
figure of every lane, side by side, and opens the lanes that may fit. Offers move a few at a time, by
:meth:`Shelf.sort`, while searches and changes go on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from sealmarket_backend.offers.clauses import GUARDS, LIMITS, REACH, UNIT, Limits, Row, Wanted, first_missed
from sealmarket_backend.offers.lane import Lane

MOST_LANES = 256
"""Of one shelf: a search holds its request against all of them."""
_UNIT_PLACE = len(LIMITS)
LEAST_SORTED = 64
"""A lane with fewer offers, a block, is not sorted."""


@dataclass(slots=True)
class Split:
    """Lanes of the offers that miss one of some limits. ``rest`` has those that were not sorted yet."""

    unit: int
    limits: Limits
    rest: Lane
    parts: dict[int, Node] = field(default_factory=dict)

    def place(self, row: Row) -> int:
        """The first limit that an offer misses, the price of a unit before all; -1 where it misses none."""
        return _UNIT_PLACE if row[UNIT] > self.unit else first_missed(row[REACH], self.limits)


Node: TypeAlias = Lane | Split


class Shelf:
    """Offers of which all clauses of equality hold."""

    __slots__ = ("_unsorted", "lanes", "root", "size")

    def __init__(self) -> None:
        lane = Lane()
        self.root: Node = lane
        self._unsorted: list[Split] = []
        self.lanes: dict[Lane, Limits] = {lane: 0}
        """All of them, each with what the best of its offers reaches; some may be empty."""
        self.size = 0

    @property
    def is_large(self) -> bool:
        """Whether it has so many offers that it is sorted."""
        return self.size >= LEAST_SORTED

    @property
    def is_divided(self) -> bool:
        """Whether some of it is sorted."""
        return isinstance(self.root, Split)

    def lanes_for(self, wanted: Wanted) -> list[tuple[Row, Lane]]:
        """Those in which an offer may keep every limit, each with its cheapest offer."""
        needed = wanted.limits
        return [
            (lane.first, lane)
            for lane, limits in self.lanes.items()
            if (limits - needed) & GUARDS == GUARDS and lane.first is not None
        ]

    def put(self, row: Row) -> None:
        """Add an offer."""
        self.size += 1
        self._put_below(self.root, row)

    def take(self, row: Row) -> None:
        """Remove an offer that is here."""
        node = self.root
        while isinstance(node, Split):
            if node.rest.take(row):
                node = node.rest
                break
            node = node.parts[node.place(row)]
        else:
            if not node.take(row):
                raise KeyError(f"no offer {row[-1].hex()} on this shelf")
        self.size -= 1
        self._note(node)

    def sort_by(self, wanted: Wanted, lane: Lane) -> bool:
        """Have a lane sorted by the limits of a request that looked at many of its offers in vain; False where it is
        not of this shelf, too small, or being sorted already, and where there are too many lanes."""
        return self._split(lane, wanted.max_unit, wanted.limits)

    def _split(self, lane: Lane, unit: int, limits: Limits) -> bool:
        if lane.size < LEAST_SORTED or len(self.lanes) + len(LIMITS) > MOST_LANES:
            return False
        split = Split(unit, limits, lane)
        if not self._replace(lane, split):
            return False
        self._unsorted.append(split)
        return True

    def sort_like(self, other: Shelf) -> bool:
        """Have lanes sorted by the limits by which another shelf's were, where they lie in the same place; False where
        none is."""
        found = False
        nodes = [(self.root, other.root)]
        while nodes:
            node, model = nodes.pop()
            if not isinstance(model, Split):
                continue
            if isinstance(node, Lane):
                found |= self._split(node, model.unit, model.limits)
            elif (node.unit, node.limits) == (model.unit, model.limits):
                nodes += ((part, model.parts[place]) for place, part in node.parts.items() if place in model.parts)
        return found

    def sort(self, most: int) -> int:
        """Move about so many offers into their lanes; returns how many. Fewer: all are where they belong."""
        moved = 0
        while self._unsorted and moved < most:
            split = self._unsorted[0]
            if not split.rest.size:
                del self._unsorted[0]
                del self.lanes[split.rest]
                continue
            rows = split.rest.take_first()
            moved += len(rows)
            self._note(split.rest)
            for row in rows:
                self._put_below(split, row)
        return moved

    def _put_below(self, node: Node, row: Row) -> None:
        while isinstance(node, Split):
            place = node.place(row)
            if place not in node.parts:
                node.parts[place] = Lane()
            node = node.parts[place]
        node.put(row)
        self._note(node)

    def _note(self, lane: Lane) -> None:
        """Keep what the best of a lane reaches, after a change of the lane."""
        self.lanes[lane] = lane.bounds.limits if lane.bounds is not None else 0

    def _replace(self, lane: Lane, split: Split) -> bool:
        """Put a split where a lane was; False for a lane that is being sorted already."""
        if self.root is lane:
            self.root = split
            return True
        nodes = [self.root]
        while nodes:
            node = nodes.pop()
            if isinstance(node, Split):
                for place, part in node.parts.items():
                    if part is lane:
                        node.parts[place] = split
                        return True
                nodes += node.parts.values()
        return False
