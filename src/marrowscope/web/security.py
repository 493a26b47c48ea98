"""What every answer carries: security headers; what no request may: another's name, too much."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marrowscope.errors import TooLargeError
from marrowscope.web.problems import problem
from marrowscope.web.settings import Settings

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""No script or style that stands in a page, and nothing from elsewhere."""
ALWAYS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Unless the answer has its own."""
ASSETS = "/static/"
"""Files of the package: a browser keeps them and asks each time whether they are still the same."""
STRICT = "max-age=31536000"
UPLOADS = ("/files", "/fields", "/classify")
"""Ends of the addresses that take pictures."""


class Guard:
    """Wraps an application: checks the name it is called by, the size of bodies, adds headers."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Guard an application with these settings."""
        self._app = app
        self._settings = settings
        self._headers = dict(ALWAYS)
        if settings.secure:
            self._headers["Strict-Transport-Security"] = STRICT

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        most = self._most(scope["path"])

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                if scope["path"].startswith(ASSETS):
                    answer.setdefault("Cache-Control", "no-cache")
                for name, value in self._headers.items():
                    answer.setdefault(name, value)
            await send(message)

        if _name(headers.get("host", "")) not in self._settings.known_names:
            refused = problem(421, "this server is not known by that name; give it with --name")
            await refused(scope, receive, sending)
        elif _announced(headers) > most:
            await problem(413, _too_large(most))(scope, receive, sending)
        else:
            await self._app(scope, _counted(receive, most), sending)

    def _most(self, path: str) -> int:
        limits = self._settings.limits
        return limits.upload_bytes if path.endswith(UPLOADS) else limits.body_bytes


def _counted(receive: Receive, most: int) -> Receive:
    """Receive at most so many bytes, whatever was announced."""
    came = 0

    async def receiving() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if came > most:
            raise TooLargeError(_too_large(most))
        return message

    return receiving


def _too_large(most: int) -> str:
    return f"at most {most / 2**20:,.3g} MiB are taken at once; send it in parts"


def _name(host: str) -> str:
    """Give the name in a Host header: `room` of `room:8017`, `::1` of `[::1]:8017`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _announced(headers: Headers) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0
