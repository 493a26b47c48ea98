"""Users, logins, tokens and links: what opens, what does not, and what the store keeps of it."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from store_fixtures import PASSWORD, people

from marrowscope.errors import ConflictError, DeniedError, NotThereError, StoreError
from marrowscope.store.audit import export
from marrowscope.store.credentials import (
    close_login,
    find_login,
    find_token,
    is_due,
    list_tokens,
    make_token,
    open_login,
    revoke_token,
    touch,
)
from marrowscope.store.database import Store
from marrowscope.store.enums import Role
from marrowscope.store.invitations import first_link, look_at_link, make_link, use_link
from marrowscope.store.users import (
    WRONG,
    change_role,
    check_password,
    check_role,
    list_users,
    make_user,
    set_password,
    switch,
    user_called,
)


def test_a_password_opens_and_nothing_else_does(store: Store) -> None:
    with store.write() as session:
        made = make_user(session, " Ada ", Role.REVIEWER, PASSWORD)
        make_user(session, "Ben", Role.READER)
        assert made.password_hash.startswith("$argon2id$")
        assert check_password(session, "ADA", PASSWORD) is made
        for name, password in (("Ada", "another password"), ("Ben", ""), ("Eve", PASSWORD)):
            with pytest.raises(DeniedError, match=WRONG):
                check_password(session, name, password)
        assert [user.name for user in list_users(session)] == ["Ada", "Ben"]


def test_names_are_taken_whatever_their_letters(store: Store) -> None:
    with store.write() as session:
        make_user(session, "Ada", Role.REVIEWER)
        with pytest.raises(ConflictError, match="there is a user 'aDA' already"):
            make_user(session, "aDA", Role.READER)
        with pytest.raises(StoreError, match="the name of the user is empty; give one"):
            make_user(session, "  ", Role.READER)
        with pytest.raises(StoreError, match="must be one line of at most 64 characters"):
            make_user(session, "A\x00da", Role.READER)
        with pytest.raises(StoreError, match="a password has 12 to 1024 characters; got 5"):
            make_user(session, "Eve", Role.READER, "short")
        with pytest.raises(NotThereError, match="there is no user 'Eve'"):
            user_called(session, "Eve")


def test_the_last_administrator_stays(store: Store) -> None:
    with store.write() as session:
        root = people(session).admin
        words = "Root is the last administrator; make another one first"
        with pytest.raises(ConflictError, match=words):
            change_role(session, root, Role.READER, "Root")
        with pytest.raises(ConflictError, match=words):
            switch(session, root, "Root", active=False)
        make_user(session, "Second", Role.ADMIN)
        change_role(session, root, Role.READER, "Second")
        with pytest.raises(DeniedError, match="Root is a reader; signing a case needs a reviewer"):
            check_role(root, Role.REVIEWER, "signing a case")


def test_a_login_ends_by_time_by_hand_and_with_the_account(store: Store) -> None:
    with store.write() as session:
        ada = people(session).ada
        opened = open_login(session, ada)
        login = find_login(session, opened.secret)
        assert login is not None
        assert (login.user, login.csrf) == (ada, opened.csrf)
        assert find_login(session, opened.secret + "x") is None
        over = open_login(session, ada, timedelta(0))
        assert find_login(session, over.secret) is None
        close_login(session, opened.secret)
        assert find_login(session, opened.secret) is None
        again = open_login(session, ada)
        set_password(session, ada, PASSWORD, "Root")
        assert find_login(session, again.secret) is None
        third = open_login(session, ada)
        switch(session, ada, "Root", active=False)
        assert find_login(session, third.secret) is None
        with pytest.raises(DeniedError, match=WRONG):
            check_password(session, "Ada", PASSWORD)


def test_a_token_opens_until_it_is_revoked(store: Store) -> None:
    with store.write() as session:
        them = people(session)
        token, secret = make_token(session, them.ada, "lab robot")
        assert find_token(session, secret) is token
        assert is_due(token)
        touch(session, token.id)
        assert not is_due(token)
        with pytest.raises(NotThereError, match=f"Ben has no token {token.id}"):
            revoke_token(session, them.ben, token.id)
        revoke_token(session, them.ada, token.id)
        assert find_token(session, secret) is None
        assert [token.name for token in list_tokens(session, them.ada)] == ["lab robot"]
        second, other = make_token(session, them.ben, "phone")
        switch(session, them.ben, "Root", active=False)
        switch(session, them.ben, "Root", active=True)
        assert find_token(session, other) is None
        assert second.revoked_at is not None


def test_the_first_link_makes_one_administrator(store: Store) -> None:
    with store.write() as session:
        older, secret = first_link(session), first_link(session)
        assert older
        assert secret
        with pytest.raises(DeniedError, match="this link was used, is too old or never was one"):
            use_link(session, older, PASSWORD, "Root")
        assert look_at_link(session, secret) is None
        root = use_link(session, secret, PASSWORD, "Root")
        assert root.role is Role.ADMIN
        assert first_link(session) is None
        with pytest.raises(DeniedError, match="this link was used"):
            use_link(session, secret, PASSWORD, "Eve")


def test_the_first_link_is_dead_once_there_is_a_user(store: Store) -> None:
    with store.write() as session:
        secret = first_link(session)
        make_user(session, "Root", Role.ADMIN)
        assert secret
        with pytest.raises(DeniedError, match="this link was used"):
            use_link(session, secret, PASSWORD, "Eve")


def test_a_link_sets_a_password_once(store: Store) -> None:
    with store.write() as session:
        ada = people(session).ada
        secret = make_link(session, ada)
        assert look_at_link(session, secret) is ada
        assert use_link(session, secret, PASSWORD) is ada
        assert check_password(session, "Ada", PASSWORD) is ada
        with pytest.raises(DeniedError, match="this link was used"):
            use_link(session, secret, PASSWORD)
        late = make_link(session, ada)
        session.execute(text("UPDATE links SET expires_at = '2020-01-01'"))
        session.expire_all()
        with pytest.raises(DeniedError, match="is too old"):
            use_link(session, late, PASSWORD)


def test_no_secret_is_kept(store: Store) -> None:
    with store.write() as session:
        ada = make_user(session, "Ada", Role.ADMIN, PASSWORD)
        secrets = [
            PASSWORD,
            open_login(session, ada).secret,
            make_token(session, ada, "robot")[1],
            make_link(session, ada),
        ]
    with store.read() as session:
        kept = "".join(export(session))
        for table in ("users", "logins", "tokens", "links"):
            kept += str(session.execute(text(f"SELECT * FROM {table}")).all())  # noqa: S608
    assert "robot" in kept
    assert not [secret for secret in secrets if secret in kept]
