"""What a view may ask for: its own commits, no writes; and the settings for all views."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint
from flask.views import MethodView

from activebase import (
    StrayCommitWarning,
    UncommittedWritesWarning,
    current_unit,
    on_commit,
    session,
    unit_of_work,
)
from activebase.flask import manual_commit, read_only_view
from tests.flask.service import Service, assert_nothing_left, running, saves
from tests.models import Member

MakeService = Callable[..., Service]


def commits_itself() -> str:
    Member(name="ada").save()
    session.commit()
    return "fine"


# -- manual_commit ---------------------------------------------------------------------------


def test_lets_a_marked_view_commit_by_itself(service: Service) -> None:
    @service.app.post("/")
    @manual_commit
    def view() -> Any:
        assert current_unit() is None
        Member(name="ada").save()
        service.session.commit()
        Member(name="bob").save()
        service.session.rollback()
        return "no", 400

    assert service.post().status_code == 400
    assert service.names() == ["ada"]


def test_warns_of_what_a_marked_view_did_not_commit(service: Service) -> None:
    @service.app.post("/")
    @manual_commit
    def view() -> str:
        Member(name="ada").save()
        return "fine"

    with pytest.warns(UncommittedWritesWarning, match="POST /"):
        assert service.post().status_code == 200
    assert service.names() == []


def test_leaves_nothing_when_that_warning_is_an_error(service: Service) -> None:
    @service.app.post("/")
    @manual_commit
    def view() -> str:
        Member(name="ada").save()
        return "fine"

    with pytest.raises(UncommittedWritesWarning):
        service.post()
    assert_nothing_left(service)


def test_lets_a_marked_view_open_units_of_its_own(service: Service) -> None:
    seen: list[list[str]] = []

    @service.app.post("/")
    @manual_commit
    def view() -> str:
        with unit_of_work():
            Member(name="ada").save()
            on_commit(lambda: seen.append(service.names()))
        with pytest.raises(ValueError), unit_of_work():  # noqa: PT011, PT012
            Member(name="bob").save()
            raise ValueError
        return "fine"

    assert service.post().status_code == 200
    assert service.names() == ["ada"]
    assert seen == [["ada"]]


def test_keeps_a_marked_view_out_of_the_unit_around_its_request(service: Service) -> None:
    @service.app.post("/")
    @manual_commit
    def view() -> str:
        return commits_itself()

    with service.app.app_context(), pytest.raises(ValueError), unit_of_work():  # noqa: PT011, PT012
        assert service.post().status_code == 200
        raise ValueError
    assert service.names() == ["ada"]


def class_marked_by_decorators() -> Any:
    class View(MethodView):
        decorators = (manual_commit,)

        def post(self) -> str:
            return commits_itself()

    return View


def class_marked_itself() -> Any:
    @manual_commit
    class View(MethodView):
        def post(self) -> str:
            return commits_itself()

    return View


def method_marked() -> Any:
    class View(MethodView):
        @manual_commit
        def post(self) -> str:
            return commits_itself()

    return View


def class_inherits_the_mark() -> Any:
    class View(class_marked_by_decorators()):  # type: ignore[misc]  # a class made by a function
        pass

    return View


@pytest.mark.parametrize(
    "make",
    [class_marked_by_decorators, class_marked_itself, method_marked, class_inherits_the_mark],
)
def test_marks_class_based_views(own: Service, make: Callable[[], Any]) -> None:
    own.app.add_url_rule("/", view_func=make().as_view("view"))
    assert own.post().status_code == 200
    assert own.names() == ["ada"]


def test_marks_the_view_function_that_as_view_gives(own: Service) -> None:
    class View(MethodView):
        def post(self) -> str:
            return commits_itself()

    own.app.add_url_rule("/", view_func=manual_commit(View.as_view("view")))
    assert own.post().status_code == 200
    assert own.names() == ["ada"]


@pytest.mark.parametrize("nested", [False, True])
def test_marks_all_views_of_a_blueprint(own: Service, nested: bool) -> None:
    admin, inner = Blueprint("admin", __name__), Blueprint("inner", __name__)
    (inner if nested else admin).post("/")(commits_itself)
    if nested:
        admin.register_blueprint(inner)
    own.app.register_blueprint(manual_commit(admin), url_prefix="/admin")
    own.app.post("/plain")(commits_itself)
    assert own.post("/admin/").status_code == 200
    assert own.names() == ["ada"]
    own.database.execute("DELETE FROM member")
    assert own.post("/plain").status_code == 500
    assert own.names() == []


# -- read only -------------------------------------------------------------------------------


def test_refuses_writes_in_a_marked_view(service: Service) -> None:
    @service.app.post("/<name>")
    @read_only_view
    def view(name: str) -> str:
        if name != "nobody":
            Member(name=name).save()
        return str(Member.query.count())

    assert service.post("/ada").status_code == 500
    assert service.post("/nobody").text == "0"
    assert service.names() == []


def test_refuses_writes_in_a_marked_blueprint(own: Service) -> None:
    reports = Blueprint("reports", __name__)
    reports.post("/")(saves("ada"))
    own.app.register_blueprint(read_only_view(reports))
    assert own.post().status_code == 500
    assert own.names() == []


def test_refuses_writes_in_a_marked_method(own: Service) -> None:
    class View(MethodView):
        @read_only_view
        def get(self) -> str:
            return saves("ada")()

        def post(self) -> str:
            return saves("bob")()

    own.app.add_url_rule("/", view_func=View.as_view("view"))
    assert own.get().status_code == 500
    assert own.post().status_code == 200
    assert own.names() == ["bob"]


@pytest.mark.parametrize("methods", [{"GET", "HEAD", "OPTIONS"}, ["GET", "HEAD"], ()])
def test_refuses_writes_in_the_read_only_methods(make_service: MakeService, methods: Any) -> None:
    service = make_service(ACTIVEBASE_READ_ONLY_METHODS=methods)
    service.app.add_url_rule("/", view_func=saves("ada"), methods=["GET", "POST"])
    assert service.get().status_code == (500 if methods else 200)
    assert service.names() == ([] if methods else ["ada"])
    service.database.execute("DELETE FROM member")
    assert service.post().status_code == 200
    assert service.names() == ["ada"]


def test_allows_writes_in_a_get_by_default(service: Service) -> None:
    service.app.get("/")(saves("ada"))
    assert service.get().status_code == 200
    assert service.names() == ["ada"]


# -- commit_if -------------------------------------------------------------------------------


def test_asks_commit_if_instead_of_the_status(make_service: MakeService, kind: str) -> None:
    service = make_service(kind, commit_if=lambda response: "X-Keep" in response.headers)

    @service.app.post("/<name>/<int:status>")
    def view(name: str, status: int) -> Any:
        Member(name=name).save()
        return "", status, {"X-Keep": "yes"} if name == "ada" else {}

    assert service.post("/ada/409").status_code == 409
    assert service.post("/bob/200").status_code == 200
    assert service.names() == ["ada"]


def test_rolls_back_an_exception_whatever_commit_if_says(make_service: MakeService) -> None:
    service = make_service(commit_if=lambda response: True)

    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        raise ValueError

    service.app.register_error_handler(ValueError, lambda error: "fine")
    assert service.post().status_code == 200
    assert service.names() == []


def test_rolls_back_when_commit_if_fails(make_service: MakeService) -> None:
    service = make_service(commit_if=lambda response: response.nonsense)
    service.app.post("/")(saves("ada"))
    assert service.post().status_code == 500
    assert service.names() == []


# -- ACTIVEBASE_STRAY_COMMITS ----------------------------------------------------------------


def test_refuses_stray_commits_by_default_and_by_name(make_service: MakeService, kind: str) -> None:
    service = make_service(kind, ACTIVEBASE_STRAY_COMMITS="raise")
    service.app.post("/")(commits_itself)
    assert service.post().status_code == 500
    assert service.names() == []


def test_lets_stray_commits_pass_with_a_warning(make_service: MakeService, kind: str) -> None:
    service = make_service(kind, ACTIVEBASE_STRAY_COMMITS="warn")
    seen: list[str] = []

    @service.app.post("/")
    def view() -> str:
        on_commit(lambda: seen.append("sent"))
        commits_itself()
        assert service.names() == ["ada"]
        assert seen == []
        Member(name="bob").save()
        return "fine"

    with pytest.warns(StrayCommitWarning):
        assert service.post().status_code == 200
    assert service.names() == ["ada", "bob"]
    assert seen == ["sent"]


def test_lets_stray_commits_pass(make_service: MakeService, kind: str) -> None:
    service = make_service(kind, ACTIVEBASE_STRAY_COMMITS="allow")

    @service.app.post("/")
    def view() -> str:
        commits_itself()
        Member(name="bob").save()
        raise ValueError

    assert service.post().status_code == 500
    assert service.names() == ["ada"]


@pytest.mark.parametrize("database_kind", ["sqlite_database"])
def test_refuses_an_unknown_setting(
    request: pytest.FixtureRequest, database_kind: str, kind: str
) -> None:
    database = request.getfixturevalue(database_kind)
    with (
        pytest.raises(ValueError, match="raise, warn, allow"),
        running(database, kind, ACTIVEBASE_STRAY_COMMITS="maybe"),
    ):
        raise AssertionError("it is refused when the app is made")
