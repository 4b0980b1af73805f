"""HTML and SVG that escape by construction: text put into an element is text, never markup."""

from __future__ import annotations

from html import escape

from irlbench.reporting.escape import visible

_VOID = frozenset({"img", "meta", "wbr"})


class Markup(str):
    """A piece of finished markup. Only this module's functions and constants make one."""

    __slots__ = ()


def element(tag: str, /, *children: object, **attributes: object) -> Markup:
    """One element.

    Args:
        tag: Its name.
        children: Markup is kept, anything else is escaped; None is left out.
        attributes: Values are escaped; None and False leave the attribute out, True gives it no
            value. In names a trailing underscore falls away and others become hyphens
            (`class_`, `aria_label`); `viewBox` keeps its case.

    Returns:
        The element as markup.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{join(*children)}</{tag}>")


def join(*children: object) -> Markup:
    """Several pieces one after another; text among them is escaped, None left out."""
    return Markup("".join(text(child) for child in children if child is not None))


def text(value: object) -> Markup:
    """Markup as it is; anything else escaped, control characters made visible."""
    if isinstance(value, Markup):
        return value
    return Markup(escape(visible(value), quote=True))


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    if isinstance(value, float):
        value = f"{value:.6g}"
    return f' {name}="{escape(visible(value), quote=True)}"'
