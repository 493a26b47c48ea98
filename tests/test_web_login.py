"""Who comes in: first start, passwords, tokens, CSRF, roles, and what every answer carries."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from web_fixtures import (
    API,
    NAME,
    PASSWORD,
    browser,
    make_case,
    opened,
    room_of,
    settings_of,
    stranger,
)

from marrowscope.errors import SettingsError, TooOftenError
from marrowscope.model.bundle import Bundle
from marrowscope.store.invitations import first_link
from marrowscope.web.app import create_app
from marrowscope.web.settings import Settings
from marrowscope.web.throttle import MOST, WINDOW_S, Attempts


@pytest.fixture
def app(tmp_path: Path, toy_bundle: Bundle) -> Iterator[FastAPI]:
    with opened(settings_of(tmp_path, toy_bundle)) as running:
        yield running


def test_the_first_start_makes_an_administrator_once(tmp_path: Path, toy_bundle: Bundle) -> None:
    app = create_app(settings_of(tmp_path, toy_bundle))
    with TestClient(app, base_url=f"http://{NAME}") as client:
        with room_of(app).store.write() as session:
            secret = first_link(session)
        assert client.post(f"{API}/links/look", json={"secret": secret}).json() == {
            "first": True,
            "name": "",
        }
        use = {"secret": secret, "password": PASSWORD, "name": "Root"}
        made = client.post(f"{API}/links/use", json=use)
        assert (made.json()["name"], made.json()["role"]) == ("Root", "admin")
        assert client.get(f"{API}/session").json()["name"] == "Root"
        again = client.post(f"{API}/links/use", json=use | {"name": "Eve"})
        assert again.status_code == 403
        assert "used" in again.json()["detail"]


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(app: FastAPI) -> None:
    answer = stranger(app).post(f"{API}/session", json={"name": "ada", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("marrowscope=login_")
    assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "Path=/"))
    assert "Secure" not in cookie


def test_by_https_the_cookie_never_travels_in_clear(tmp_path: Path, toy_bundle: Bundle) -> None:
    with opened(settings_of(tmp_path, toy_bundle, https=True)) as app:
        answer = stranger(app).post(f"{API}/session", json={"name": "Ada", "password": PASSWORD})
        assert answer.headers["set-cookie"].startswith("__Host-marrowscope=")
        assert "Secure" in answer.headers["set-cookie"]
        assert answer.headers["strict-transport-security"].startswith("max-age=")


@pytest.mark.parametrize("name", ["Ada", "Nobody", "' OR 1=1 --", "<script>alert(1)</script>"])
def test_a_wrong_password_says_nothing_about_the_name(app: FastAPI, name: str) -> None:
    answer = stranger(app).post(f"{API}/session", json={"name": name, "password": "wrong"})
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "the name or the password is wrong"


def test_after_too_many_failures_even_the_right_password_waits(app: FastAPI) -> None:
    client = stranger(app)
    for _ in range(MOST["name"]):
        client.post(f"{API}/session", json={"name": "ADA", "password": "wrong"})
    refused = client.post(f"{API}/session", json={"name": "Ada", "password": PASSWORD})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= WINDOW_S + 1
    assert browser(app, "Ben").get(f"{API}/session").status_code == 200


def test_failures_are_forgotten_after_the_window() -> None:
    time = 0.0
    attempts = Attempts(lambda: time)
    for _ in range(MOST["name"]):
        attempts.failed("Ada", "here")
    with pytest.raises(TooOftenError, match="try again in 601 seconds"):
        attempts.check("ada", "elsewhere")
    time = WINDOW_S
    attempts.check("ada", "elsewhere")


def test_nothing_is_shown_to_who_is_not_logged_in(app: FastAPI) -> None:
    free = {"/health/live", "/health/ready", "/session", "/links/look", "/links/use"}
    client, asked = stranger(app), 0
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            if path.removeprefix(API) in free:
                continue
            address = path.replace("{number}", "1").replace("{name}", "report.pdf")
            answer = client.request(method, address.replace("{case_id}", "0" * 16))
            assert answer.status_code in {401, 422}, (method, path, answer.status_code)
            asked += answer.status_code == 401
    assert asked > 30


def test_a_change_needs_the_csrf_token_and_our_own_page(app: FastAPI) -> None:
    ada = browser(app, "Ada")
    facts = {"title": "A-1", "um_per_px": 0.086}
    for headers in ({"X-CSRF-Token": ""}, {"X-CSRF-Token": "guess"}):
        assert ada.post(f"{API}/cases", json=facts, headers=headers).status_code == 403
    for headers in ({"Origin": "http://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
        assert ada.post(f"{API}/cases", json=facts, headers=headers).status_code == 403
    assert ada.post(f"{API}/cases", json=facts, headers={"Origin": f"http://{NAME}"}).is_success


def test_another_site_cannot_log_a_browser_in(app: FastAPI) -> None:
    mine = {"name": "Ada", "password": PASSWORD}
    answer = stranger(app).post(f"{API}/session", json=mine, headers={"Origin": "http://evil.test"})
    assert answer.status_code == 403


def test_logging_out_ends_the_cookie(app: FastAPI) -> None:
    ada = browser(app, "Ada")
    thief = stranger(app)
    thief.cookies.update(ada.cookies)
    assert thief.get(f"{API}/session").is_success
    assert ada.delete(f"{API}/session").status_code == 204
    assert thief.get(f"{API}/session").status_code == 401


def test_a_token_does_what_its_user_may_until_it_is_revoked(app: FastAPI) -> None:
    ada = browser(app, "Ada")
    made = ada.post(f"{API}/tokens", json={"name": "scanner"}).json()
    program = stranger(app)
    program.headers["Authorization"] = f"Bearer {made['secret']}"
    make_case(program)
    assert program.get(f"{API}/session").json() == {"name": "Ada", "role": "reviewer", "csrf": ""}
    assert ada.get(f"{API}/tokens").json()[0]["used_at"] is not None
    assert "secret" not in ada.get(f"{API}/tokens").json()[0]
    assert program.get(f"{API}/users").status_code == 403
    assert browser(app, "Ben").delete(f"{API}/tokens/{made['id']}").status_code == 404
    assert ada.delete(f"{API}/tokens/{made['id']}").status_code == 204
    assert program.get(f"{API}/session").status_code == 401


def test_a_new_user_chooses_a_password_by_link_and_is_switched_off(app: FastAPI) -> None:
    root = browser(app, "Root")
    link = root.post(f"{API}/users", json={"name": "Cleo", "role": "reader"}).json()
    assert link["path"] == f"/welcome#{link['secret']}"
    client = stranger(app)
    use = {"secret": link["secret"], "password": "short"}
    assert client.post(f"{API}/links/use", json=use).status_code == 422
    assert client.post(f"{API}/links/use", json=use | {"password": PASSWORD}).is_success
    refused = client.post(f"{API}/cases", json={"title": "x", "um_per_px": 0.1})
    assert refused.status_code == 403
    assert root.patch(f"{API}/users/Cleo", json={"active": False}).json()["active"] is False
    assert client.get(f"{API}/session").status_code == 401
    assert root.patch(f"{API}/users/Root", json={"role": "reader"}).status_code == 409


def test_a_changed_password_logs_other_browsers_out(app: FastAPI) -> None:
    here, there = browser(app, "Ada"), browser(app, "Ada")
    change = {"old": "wrong", "new": "another marrow of words"}
    assert here.put(f"{API}/session/password", json=change).status_code == 403
    changed = here.put(f"{API}/session/password", json=change | {"old": PASSWORD})
    assert changed.is_success
    assert there.get(f"{API}/session").status_code == 401
    assert here.get(f"{API}/session").json()["csrf"] == changed.json()["csrf"]


def test_a_password_changed_by_a_token_opens_no_login(app: FastAPI) -> None:
    ada = browser(app, "Ada")
    secret = ada.post(f"{API}/tokens", json={"name": "scanner"}).json()["secret"]
    program = stranger(app)
    change = {"old": PASSWORD, "new": "another marrow of words"}
    bearer = {"Authorization": f"Bearer {secret}"}
    changed = program.put(f"{API}/session/password", json=change, headers=bearer)
    assert changed.is_success
    assert changed.json()["csrf"] == ""
    assert "set-cookie" not in changed.headers
    assert ada.get(f"{API}/session").status_code == 401


def test_every_answer_carries_the_security_headers(app: FastAPI) -> None:
    for path in (f"{API}/health/live", f"{API}/cases", "/nothing-here"):
        headers = stranger(app).get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_a_server_called_by_another_name_does_not_answer(app: FastAPI) -> None:
    answer = stranger(app).get(f"{API}/health/live", headers={"Host": "evil.test"})
    assert answer.status_code == 421
    for host in ("localhost:8017", "[::1]:8017", "127.0.0.1"):
        assert stranger(app).get(f"{API}/health/live", headers={"Host": host}).is_success


def test_an_address_for_others_needs_https(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(tmp_path, host="0.0.0.0", key=tmp_path / "key.pem", port=70_000)  # noqa: S104
    words = str(caught.value)
    assert "--certificate and --key come together" in words
    assert "passwords would travel in clear text" in words
    assert "--port is 0 to 65535, got 70000" in words


def test_the_counters_are_for_administrators_and_name_no_case(app: FastAPI) -> None:
    ada = browser(app, "Ada")
    case = make_case(ada)
    ada.get(f"{API}/cases/{case}")
    assert ada.get(f"{API}/metrics").status_code == 403
    page = browser(app, "Root").get(f"{API}/metrics").text
    assert 'route="/api/v1/cases/{case_id}"' in page
    assert case not in page
    assert 'marrowscope_logins_total{outcome="accepted"} 2.0' in page


def test_a_browser_keeps_the_assets_and_asks_whether_they_are_the_same(app: FastAPI) -> None:
    with TestClient(app, base_url=f"http://{NAME}") as client:
        first = client.get("/static/room.css")
        assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
        same = client.get("/static/room.css", headers={"If-None-Match": first.headers["etag"]})
        assert same.status_code == 304
        assert client.get("/login").headers["cache-control"] == "no-store"
