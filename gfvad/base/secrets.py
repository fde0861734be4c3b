"""Passwords and tokens in URLs never reach a message or a file."""

from __future__ import annotations

import re

# user:password@ (or token@) after :// (:/ where a URL was taken for a path), up to the last @
# before the path
_USER = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]+:/{1,2})[^\s/?#'\"<>]*@")
_SECRET = re.compile(
    r"(?i)(?P<key>[?&;](?:pass(?:word|wd)?|pwd|token|key|api_?key|auth|secret|sig(?:nature)?|access_token|user(?:name)?)=)[^&;\s'\"<>]+"
)


def redact(text: str) -> str:
    """Text with the user, password and secret parameters of every URL in it replaced by '***'."""
    return _SECRET.sub(r"\g<key>***", _USER.sub(r"\g<scheme>***@", text))
