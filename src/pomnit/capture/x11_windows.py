"""The windows of an X display, kept in step with the server by its events, so that looking again costs one round trip.

Names and meanings are those of the ICCCM and of the Extended Window Manager Hints. Without a window manager the windows
are the children of the root; with one these are its frames, and what says who it is lies within.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pomnit.capture.frames import Pixels, View, Window, common
from pomnit.privacy.exclusions import is_browser, is_private

DEEPEST = 4  # levels that a program's window may lie within its frame
LONGEST = 2000  # characters of a title, of a name
MOST_OPAQUE = 64  # boxes of an opaque region
TRIES = 8  # to find the windows at rest
_TEXT = LONGEST  # units of 4 bytes that are asked for
_STRING = 31  # the atom of texts in Latin-1

Judge = Callable[[Window], object]


@dataclass(slots=True)
class _Top:
    """A child of the root."""

    box: Pixels
    depth: int
    shown: bool
    override: bool  # the window manager leaves it alone: a menu, a tooltip
    client: int  # the window inside that says who it is, or itself
    read: bool = False
    window: Window | None = None
    verdict: object = None


@dataclass(slots=True)
class _Dirty:
    """What is to be asked for again."""

    order: bool = True
    clients: bool = True
    focus: bool = True
    tops: set[int] = field(default_factory=set)


class Windows:
    """The windows of one display."""

    def __init__(self, display: Any, judge: Judge, other: Callable[[Any], None]) -> None:
        """``judge`` says what decides about a window: when that changes, the view is another one.

        ``other`` gets the events that are not about windows.
        """
        from Xlib import X

        self._x, self._display, self._judge, self._other = X, display, judge, other
        self._root = display.screen().root
        self._atoms: dict[str, int] = {}
        self._tops: dict[int, _Top] = {}
        self._order: list[int] = []
        self._of_client: dict[int, int] = {}
        self._private: dict[int, bool] = {}  # what a client told once about being private, for good
        self._dirty = _Dirty()
        self._version, self._front = 0, 0
        self._told = False  # the window manager says which window has the keyboard, and when that changes
        self._view: tuple[Window, ...] = ()
        self._root.change_attributes(event_mask=X.SubstructureNotifyMask | X.PropertyChangeMask | X.StructureNotifyMask)

    def look(self) -> View:
        """Gives the windows as they are now. What came in between is noticed, also when it is gone again."""
        for _ in range(TRIES):
            self._display.sync()
            self.events()
            if not self._pending():
                break
            self._read()
        else:
            self._version += 1  # no rest: what is known is old already
        if not self._told and (front := self._focused() or 0) != self._front:
            self._front = front
            self._compose()
        return View(self._view, self._version)

    def _pending(self) -> bool:
        dirty = self._dirty
        return dirty.order or dirty.clients or dirty.focus or bool(dirty.tops)

    # Events

    def events(self) -> None:
        """Takes the events that have come."""
        while self._display.pending_events():
            event = self._display.next_event()
            if not self._note(event):
                self._other(event)

    def _note(self, event: Any) -> bool:
        """Notes what is to be asked for again; False when an event is not about windows."""
        x, kind = self._x, event.type
        if kind in (x.CreateNotify, x.DestroyNotify, x.MapNotify, x.UnmapNotify, x.ReparentNotify, x.CirculateNotify,
                    x.ConfigureNotify, x.GravityNotify):  # fmt: skip
            self._moved(kind, event)
        elif kind == x.PropertyNotify:
            self._renamed(event)
        else:
            return False
        return True

    def _moved(self, kind: int, event: Any) -> None:
        x, window = self._x, event.window.id
        top = window if window in self._tops else self._of_client.get(window)
        if kind == x.DestroyNotify:
            self._destroyed(window)
        if kind in (x.CreateNotify, x.DestroyNotify, x.ReparentNotify):
            self._dirty.order = self._dirty.clients = True
        elif kind in (x.MapNotify, x.UnmapNotify, x.CirculateNotify, x.ConfigureNotify):
            self._dirty.order = True
        if top is not None and top in self._tops:
            self._dirty.tops.add(top)
            if self._tops[top].shown or kind == x.MapNotify:
                self._version += 1
        elif kind == x.MapNotify:
            self._version += 1

    def _destroyed(self, window: int) -> None:
        """Forgets a window at once: its number may be another one's by the next look."""
        self._private.pop(window, None)
        top = self._of_client.get(window)
        if window in self._tops:
            self._forget(window)
        elif top is not None and top in self._tops:
            del self._of_client[window]
            self._tops[top].client, self._tops[top].read = top, False
            self._version += 1

    def _renamed(self, event: Any) -> None:
        window, name = event.window.id, event.atom
        if window == self._root.id:
            if name in (self._atom("_NET_CLIENT_LIST"), self._atom("_NET_CLIENT_LIST_STACKING")):
                self._dirty.clients = True
            elif name == self._atom("_NET_ACTIVE_WINDOW"):
                self._dirty.focus = True
            return
        top = self._of_client.get(window, window)
        if top in self._tops and name in (self._atom(n) for n in _PROPERTIES):
            self._dirty.tops.add(top)

    # Asking

    def _read(self) -> None:
        """Asks for what is not known any more."""
        from Xlib.error import BadDrawable, BadMatch, BadWindow

        dirty, self._dirty = self._dirty, _Dirty(order=False, clients=False, focus=False)
        if dirty.order:
            self._read_order()
        if dirty.clients:
            self._read_clients()
        for number in list(self._tops):
            top = self._tops[number]
            if number in dirty.tops or not top.read:
                try:
                    self._read_top(number, top)
                except (BadWindow, BadDrawable, BadMatch):  # gone meanwhile; its event is on the way
                    self._forget(number)
        self._front = self._focused() or 0
        self._compose()

    def _read_order(self) -> None:
        order = [window.id for window in self._root.query_tree().children]
        there = set(order)
        for number in [n for n in self._tops if n not in there]:
            self._forget(number)
        for number in order:
            if number not in self._tops:
                self._tops[number] = _Top((0, 0, 0, 0), 0, shown=False, override=False, client=number)
                self._listen(number)
        self._order = order

    def _forget(self, number: int) -> None:
        top = self._tops.pop(number, None)
        if top is not None:
            self._of_client.pop(top.client, None)
            self._version += top.shown
        self._order = [n for n in self._order if n != number]

    def _listen(self, number: int) -> None:
        """Asks for events of a window."""
        from Xlib.error import CatchError

        x = self._x
        mask = x.PropertyChangeMask | x.StructureNotifyMask
        self._window(number).change_attributes(event_mask=mask, onerror=CatchError())

    def _read_clients(self) -> None:
        """Finds the frames that the window manager's clients are in."""
        listed = self._numbers(self._root, "_NET_CLIENT_LIST") or []
        for client in listed:
            top = self._top_of(client)
            if top is not None and self._tops[top].client != client:
                self._of_client.pop(self._tops[top].client, None)
                self._tops[top].client, self._tops[top].read = client, False
                self._listen(client)

    def _top_of(self, client: int) -> int | None:
        from Xlib.error import XError

        number = client
        for _ in range(DEEPEST + 1):
            if number in self._tops:
                return number
            try:
                parent = self._window(number).query_tree().parent
            except XError:
                return None
            if not parent or parent.id == self._root.id:
                return None
            number = parent.id
        return None

    def _read_top(self, number: int, top: _Top) -> None:
        window = self._window(number)
        facts = window.get_attributes()
        shown = facts.map_state == self._x.IsViewable and facts.win_class == self._x.InputOutput
        place = window.get_geometry()
        around = 2 * place.border_width
        box = (place.x, place.y, place.x + place.width + around, place.y + place.height + around)
        if (shown, box) != (top.shown, top.box) and (shown or top.shown):
            self._version += 1
        top.shown, top.box, top.depth, top.override = shown, box, place.depth, bool(facts.override_redirect)
        top.read = True
        if not shown:
            return
        if top.client == number and not top.override and self._property(window, "WM_CLASS") is None:
            top.client = self._within(number, 0) or number
            if top.client != number:
                self._listen(top.client)
        self._of_client[top.client] = number
        found = self._window_of(number, top)
        told = is_private(found)
        if told is not None:
            self._private[top.client] = told or self._private.get(top.client, False)
        private = self._private.get(top.client, begun_private(found) or None)
        found = replace(found, private=bool(private), doubtful=private is None and not found.popup)
        verdict = self._judge(found)
        if top.window is None or verdict != top.verdict:
            self._version += 1
        top.window, top.verdict = found, verdict

    def _within(self, number: int, deep: int) -> int | None:
        """Gives the window with a WM_STATE in another one, or that one itself."""
        if self._property(self._window(number), "WM_STATE", 2) is not None:
            return number
        if deep < DEEPEST:
            for child in reversed(self._window(number).query_tree().children):
                if (found := self._within(child.id, deep + 1)) is not None:
                    return found
        return None

    def _window_of(self, number: int, top: _Top) -> Window:
        client = self._window(top.client)
        names = tuple(dict.fromkeys(n for n in self._text(client, "WM_CLASS").split("\0") if n))
        title = self._text(client, "_NET_WM_NAME") or self._text(client, "WM_NAME")
        above = self._numbers(client, "WM_TRANSIENT_FOR")
        pid = self._numbers(client, "_NET_WM_PID")
        kinds = self._numbers(client, "_NET_WM_WINDOW_TYPE") or []
        return Window(
            app=names[-1] if names else None,  # its class: "Firefox", where its name is "Navigator"
            title=title or None,
            url=None,
            private=False,
            box=top.box,
            focused=False,
            id=top.client,
            names=names,
            pid=pid[0] if pid else None,
            popup=top.override or bool({self._atom(kind) for kind in _POPUPS}.intersection(kinds)),
            above=above[0] if above and above[0] not in (0, self._root.id) else None,
            opaque=self._opaque(number, top),
        )

    def _opaque(self, number: int, top: _Top) -> tuple[Pixels, ...]:
        """Gives where nothing shines through a window, as far as that is certain."""
        frame, client = self._window(number), self._window(top.client)
        if any(
            self._numbers(w, "_NET_WM_WINDOW_OPACITY") is not None for w in {number: frame, top.client: client}.values()
        ):
            return ()
        if self._display.has_extension("SHAPE") and frame.shape_query_extents().bounding_shaped:
            return ()
        if top.depth == self._root.get_geometry().depth:
            return (top.box,)
        numbers = self._numbers(client, "_NET_WM_OPAQUE_REGION", 4 * MOST_OPAQUE) or []
        at = client.translate_coords(self._root, 0, 0)
        boxes = zip(*(numbers[i::4] for i in range(4)), strict=False)
        moved = ((x - at.x, y - at.y, x - at.x + w, y - at.y + h) for x, y, w, h in boxes)
        return tuple(part for box in moved if (part := common(box, top.box)))

    def _focused(self) -> int | None:
        """Gives the program's window that has the keyboard."""
        active = self._numbers(self._root, "_NET_ACTIVE_WINDOW")
        self._told = active is not None
        if active is not None:
            return active[0] if active else None
        focus = self._display.get_input_focus().focus
        if not hasattr(focus, "id"):  # none, or where the pointer is
            return None
        top = self._top_of(focus.id)
        return None if top is None else self._tops[top].client

    def _compose(self) -> None:
        found = []
        for number in self._order:
            top = self._tops.get(number)
            if top is not None and top.shown and top.window is not None:
                found.append(replace(top.window, focused=top.window.id == self._front))
        self._view = tuple(found)

    # Properties

    def _window(self, number: int) -> Any:
        return self._display.create_resource_object("window", number)

    def _atom(self, name: str) -> int:
        if name not in self._atoms:
            self._atoms[name] = self._display.get_atom(name)
        return self._atoms[name]

    def _property(self, window: Any, name: str, units: int = 64) -> Any:
        return window.get_full_property(self._atom(name), self._x.AnyPropertyType, units)

    def _text(self, window: Any, name: str) -> str:
        found = self._property(window, name, _TEXT)
        if found is None or found.format != 8:
            return ""
        raw = found.value if isinstance(found.value, bytes) else str(found.value).encode("utf-8", "replace")
        return _decoded(raw, latin=found.property_type == _STRING)[:LONGEST]

    def _numbers(self, window: Any, name: str, most: int = 4096) -> Sequence[int] | None:
        found = self._property(window, name, most)
        return None if found is None or found.format != 32 else [int(n) for n in found.value]


_PROPERTIES = ("WM_CLASS", "_NET_WM_NAME", "WM_NAME", "WM_TRANSIENT_FOR", "_NET_WM_PID", "_NET_WM_WINDOW_TYPE",
               "_NET_WM_OPAQUE_REGION", "_NET_WM_WINDOW_OPACITY")  # fmt: skip
_POPUPS = tuple(f"_NET_WM_WINDOW_TYPE_{name}" for name in (
    "MENU", "DROPDOWN_MENU", "POPUP_MENU", "TOOLTIP", "NOTIFICATION", "COMBO", "DND"))  # fmt: skip


_FLAGS = frozenset({"--incognito", "--private"})  # of browsers whose titles do not tell


def begun_private(window: Window) -> bool:
    """Says whether a browser was started with private windows; it may have others by now."""
    if window.pid is None or not is_browser(window):
        return False
    try:
        with open(f"/proc/{window.pid}/cmdline", "rb") as file:
            words = file.read(1 << 16).decode("utf-8", "replace").split("\0")
    except OSError:  # another machine's, or ended
        return False
    return not _FLAGS.isdisjoint(words[1:])


def _decoded(raw: bytes, *, latin: bool) -> str:
    """Gives a text property: UTF-8, which many also put where Latin-1 belongs."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1") if latin else raw.decode("utf-8", "replace")
