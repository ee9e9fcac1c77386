"""The boundary on the command line: `@unit_of_work` on the command, a warning where it lacks."""

import pytest
from click.testing import Result

from activebase import UncommittedWritesWarning, current_unit, unit_of_work
from tests.flask.service import Service, assert_nothing_left
from tests.models import Member


@pytest.fixture(autouse=True)
def commands(service: Service) -> None:
    @service.app.cli.command()
    @unit_of_work
    def seed() -> None:
        assert current_unit() is not None
        Member(name="ada").save()

    @service.app.cli.command()
    @unit_of_work
    def seed_half() -> None:
        Member(name="ada").save()
        raise ValueError

    @service.app.cli.command()
    def forgotten() -> None:
        Member(name="ada").save()


def run(service: Service, command: str) -> Result:
    return service.app.test_cli_runner().invoke(args=[command])


def test_commits_a_command_with_unit_of_work(service: Service) -> None:
    assert run(service, "seed").exit_code == 0
    assert service.names() == ["ada"]


def test_rolls_back_a_command_that_fails(service: Service) -> None:
    result = run(service, "seed-half")
    assert isinstance(result.exception, ValueError)
    assert service.names() == []
    assert_nothing_left(service)


def test_warns_of_a_command_without_unit_of_work(service: Service) -> None:
    with pytest.warns(UncommittedWritesWarning, match="1 write was .*unit_of_work"):
        assert run(service, "forgotten").exit_code == 0
    assert service.names() == []
    assert_nothing_left(service)
