"""The form a browser signs in with: one page of its own, without scripts."""

from __future__ import annotations

import base64
import hashlib
from html import escape

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 22rem; margin: 12vh auto; padding: 0 1rem; color: #1b2733; }
label { display: block; margin: 1rem 0 .2rem; }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; border: 1px solid #8595a5; border-radius: 4px; }
button { font: inherit; margin-top: 1.5rem; padding: .5rem 1.5rem; border: 0; border-radius: 4px; }
button { background: #0b5cad; color: #fff; }
[role=alert] { background: #fdecea; padding: .5rem .8rem; border-radius: 4px; }
code { background: #eef2f6; padding: .1rem .3rem; }
@media (prefers-color-scheme: dark) {
  body { background: #12181f; color: #e3e9ef; } input { background: #1b2530; color: inherit; }
  [role=alert] { background: #4a1f1c; } code { background: #24303c; }
}
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
LOGIN_HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",  # with no-referrer a browser sends the form with `Origin: null`
    "x-content-type-options": "nosniff",
}


def login_page(problem: str = "") -> str:
    """HTML. `problem` says why the last try failed."""
    alert = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Headrace: sign in</title><style>{_STYLE}</style></head>
<body><main><h1>Headrace</h1>{alert}
<form method="post" action="/login">
<label for="company">Company</label><input id="company" name="company" autocomplete="organization" value="local" required>
<label for="name">Name</label><input id="name" name="name" autocomplete="username" required>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Sign in</button></form>
<p>On this platform's own computer, <code>headrace open</code> prints a link that needs no password.</p>
</main></body></html>
"""
