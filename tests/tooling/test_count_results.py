import count_results
import pytest


@pytest.fixture
def stage(tmp_path):
    def tally(**files):
        for name, text in files.items():
            file = tmp_path / name.replace("__", "/").replace("_xml", ".xml").replace("_log", ".log")
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        (tmp_path / "pre_commit.log").exists() and (tmp_path / "pre_commit.log").rename(
            tmp_path / "pre-commit.log")
        return count_results.count_stage(tmp_path)

    return tally


CTEST = """<testsuite>
<testcase name="a_test" status="run"/>
<testcase name="b_test" status="{}">{}</testcase>
</testsuite>"""
GTEST = """<testsuites><testsuite name="S">
<testcase name="Good" status="run" result="completed" classname="S"/>
<testcase name="Bad" status="run" result="completed" classname="S">{}</testcase>
<testcase name="Later" status="run" result="skipped" classname="S"><skipped message="no GPU"/></testcase>
</testsuite></testsuites>"""


def test_single_tests_replace_their_program(stage):
    tally = stage(ctest_xml=CTEST.format("run", ""), gtest__a_test_xml=GTEST.format(""))
    assert (tally.passed, tally.failed, tally.skipped) == (3, [], ["S.Later: no GPU"])


def test_failed_single_test_is_named_and_counted_once(stage):
    tally = stage(ctest_xml=CTEST.format("fail", "<failure/>"),
                  gtest__b_test_xml=GTEST.format("<failure/>"))
    assert (tally.passed, tally.failed) == (2, ["S.Bad"])


def test_crash_without_results_is_a_failure(stage):
    tally = stage(ctest_xml=CTEST.format("fail", "<failure/>"))
    assert (tally.passed, tally.failed) == (1, ["b_test (the program failed)"])


def test_program_that_fails_after_its_tests_passed_is_a_failure(stage):
    tally = stage(ctest_xml=CTEST.format("fail", "<failure/>"), gtest__b_test_xml=GTEST.format(""))
    assert (tally.passed, tally.failed) == (3, ["b_test (the program failed)"])


def test_program_that_was_never_built_is_a_failure(stage):
    tally = stage(ctest_xml=CTEST.format("notrun", "<skipped/>"))
    assert tally.failed == ["b_test (the program failed)"]


def test_hooks_are_counted_by_their_result(stage):
    log = "one.......Passed\ntwo..........(no files to check)Skipped\nthree....Failed\n- exit code: 1\n"
    tally = stage(pre_commit_log=log)
    assert (tally.passed, tally.failed, tally.skipped) == (1, ["three"], ["two"])


def test_stage_that_could_not_run_or_ran_nothing_is_a_failure(stage, tmp_path):
    assert stage().failed == ["the stage ran no test"]
    assert stage(error="the build failed\n").failed == ["the build failed"]


def test_last_line_sums_up_all_stages(tmp_path, monkeypatch, capsys):
    for name, text in [("1-a", "x....Passed\n"), ("2-b", "y....Passed\nz....Failed\n")]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "pre-commit.log").write_text(text)
    monkeypatch.setattr("sys.argv", ["count_results.py", str(tmp_path)])
    assert count_results.main() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 passed, 1 failed"
