"""The PostgreSQL that tests of a shared catalog use."""

from __future__ import annotations

import sqlalchemy


def test_the_database_answers_and_keeps(postgres: str) -> None:
    engine = sqlalchemy.create_engine(postgres)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("create table kept (n int)"))
        connection.execute(sqlalchemy.text("insert into kept values (7)"))
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("select n from kept")).scalar() == 7
    engine.dispose()
