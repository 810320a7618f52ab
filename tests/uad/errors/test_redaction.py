import logging
from collections.abc import Iterator

import pytest

from uad.errors import RegistryError
from uad.errors.redaction import clean_log_records, without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot reach postgresql://u:pw@db/x (gone)", "cannot reach postgresql://***@db/x (gone)"),
        ("http://user:p@ss@host:5000/a@b", "http://***@host:5000/a@b"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("models:/cookie@champion on http://host:1", "models:/cookie@champion on http://host:1"),
        ("https://token@host", "https://***@host"),
        ("https://h/c?sig=abc&se=2026", "https://h/c?sig=***&se=2026"),
        ("s3://b/x?aws_secret_access_key=k/+=", "s3://b/x?aws_secret_access_key=***"),
        ("db://h/x?user=me&password=geheim)", "db://h/x?user=me&password=***"),
    ],
)
def test_passwords_of_addresses_are_hidden_and_the_rest_is_as_it_was(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


def test_a_password_with_a_slash_is_hidden_where_the_environment_tells_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://u:ge/heim@db/x")
    assert "heim" not in without_passwords("refused by postgresql://u:ge/heim@db/x")


def test_an_error_holds_no_password() -> None:
    error = RegistryError("cannot reach http://u:geheim@h:1: start it")
    assert str(error) == "cannot reach http://***@h:1: start it"
    assert "geheim" not in repr(error)


@pytest.fixture
def clean_records() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    clean_log_records()
    clean_log_records()  # once is enough
    yield
    logging.setLogRecordFactory(before)


def test_a_log_line_of_any_library_holds_no_password(
    clean_records: None, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("other.library")
    logger.warning("GET %s", "http://u:geheim@h:1/x")
    try:
        raise ValueError("http://u:geheim@h:1/y")
    except ValueError:
        logger.exception("failed")
    assert "http://***@h:1/x" in caplog.text
    assert "http://***@h:1/y" in caplog.text
    assert "geheim" not in caplog.text


def test_a_log_line_without_an_address_keeps_its_arguments(
    clean_records: None, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("uvicorn.access").warning("%s %s", "GET", 200)
    assert caplog.records[-1].args == ("GET", 200)
