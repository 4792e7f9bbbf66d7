"""Offers that one shelf holds, sorted into lanes by the clauses that past requests missed.

A shelf begins as one lane. A request that looks at many offers of a lane in vain gives the lane its limits: from then
on each offer lies in the lane of the first of those limits that it misses, or in the lane of those that miss none.
One comparison of a request with those limits rules out the lanes of all that misses what the request needs as well, so
that the next such request looks at none of them. Offers move a few at a time, by :meth:`Shelf.sort`, while searches and
changes go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sealmarket_backend.offers.clauses import GUARD_OF, LIMITS, REACH, UNIT, Limits, Row, Wanted, demanded, first_missed
from sealmarket_backend.offers.lane import Lane

MOST_LANES = 256
"""Of one shelf: a search may have to look at the bounds of all."""
_UNIT_PLACE = len(LIMITS)
LEAST_SORTED = 64
"""A lane with fewer offers, a block, is not sorted."""


@dataclass(slots=True)
class _Split:
    """Lanes of the offers that miss one of some limits. ``rest`` has those that were not sorted yet."""

    unit: int
    limits: Limits
    rest: Lane
    parts: dict[int, Lane | _Split] = field(default_factory=dict)

    def place(self, row: Row) -> int:
        """The first limit that an offer misses, the price of a unit before all; -1 where it misses none."""
        return _UNIT_PLACE if row[UNIT] > self.unit else first_missed(row[REACH], self.limits)

    def parts_for(self, wanted: Wanted) -> Iterator[Lane | _Split]:
        """Those in which an offer may keep what is wanted."""
        yield self.rest
        ruled_out = demanded(wanted.limits, self.limits)
        for place, part in self.parts.items():
            if place == _UNIT_PLACE:
                if wanted.max_unit > self.unit:
                    yield part
            elif place < 0 or not ruled_out & GUARD_OF[place]:
                yield part


class Shelf:
    """Offers of which all clauses of equality hold."""

    __slots__ = ("_root", "_unsorted", "lanes", "size")

    def __init__(self) -> None:
        self._root: Lane | _Split = Lane()
        self._unsorted: list[_Split] = []
        self.lanes: list[Lane] = [self._root]
        """All of them; some may be empty."""
        self.size = 0

    @property
    def is_large(self) -> bool:
        """Whether it has so many offers that it is sorted."""
        return self.size >= LEAST_SORTED

    @property
    def is_divided(self) -> bool:
        """Whether some of it is sorted."""
        return isinstance(self._root, _Split)

    def put(self, row: Row) -> None:
        """Add an offer."""
        self.size += 1
        self._put_below(self._root, row)

    def take(self, row: Row) -> None:
        """Remove an offer that is here."""
        node = self._root
        while isinstance(node, _Split):
            if node.rest.take(row):
                self.size -= 1
                return
            node = node.parts[node.place(row)]
        if not node.take(row):
            raise KeyError(f"no offer {row[-1].hex()} on this shelf")
        self.size -= 1

    def lanes_for(self, wanted: Wanted) -> list[Lane]:
        """The lanes in which an offer may keep what is wanted."""
        found, nodes = list[Lane](), [self._root]
        while nodes:
            node = nodes.pop()
            if isinstance(node, _Split):
                nodes += node.parts_for(wanted)
            else:
                found.append(node)
        return found

    def sort_by(self, wanted: Wanted, lane: Lane) -> bool:
        """Have a lane sorted by the limits of a request that looked at many of its offers in vain; False where it is
        not of this shelf, too small, or being sorted already, and where there are too many lanes."""
        return self._split(lane, wanted.max_unit, wanted.limits)

    def _split(self, lane: Lane, unit: int, limits: Limits) -> bool:
        if lane.size < LEAST_SORTED or len(self.lanes) + len(LIMITS) > MOST_LANES:
            return False
        split = _Split(unit, limits, lane)
        if not self._replace(lane, split):
            return False
        self._unsorted.append(split)
        return True

    def sort_like(self, other: Shelf) -> bool:
        """Have lanes sorted by the limits by which another shelf's were, where they lie in the same place; False where
        none is."""
        found = False
        nodes = [(self._root, other._root)]
        while nodes:
            node, model = nodes.pop()
            if not isinstance(model, _Split):
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
                self.lanes.remove(split.rest)
                continue
            rows = split.rest.take_first()
            moved += len(rows)
            for row in rows:
                self._put_below(split, row)
        return moved

    def _put_below(self, node: Lane | _Split, row: Row) -> None:
        while isinstance(node, _Split):
            place = node.place(row)
            if place not in node.parts:
                node.parts[place] = lane = Lane()
                self.lanes.append(lane)
            node = node.parts[place]
        node.put(row)

    def _replace(self, lane: Lane, split: _Split) -> bool:
        """Put a split where a lane was; False for a lane that is being sorted already."""
        if self._root is lane:
            self._root = split
            return True
        nodes = [self._root]
        while nodes:
            node = nodes.pop()
            if isinstance(node, _Split):
                for place, part in node.parts.items():
                    if part is lane:
                        node.parts[place] = split
                        return True
                nodes += node.parts.values()
        return False
