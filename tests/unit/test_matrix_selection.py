"""What a matrix consists of: scenarios and pairs from what the user types."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pieces_samples import images

from orchestrator import fingerprint
from orchestrator.errors import UsageError
from orchestrator.matrix import residue, selection
from orchestrator.pieces import Store

YAML = """\
name: {name}
summary: s
claims: [a.b]
expectations:
  - {{id: x, claim: a.b, check: 'sysctl("vm.x") == 0', because: b, source: s}}
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(cache=tmp_path / "cache", images=images(tmp_path))


def pairs(store: Store, kernels: str = "", userlands: str = "", named: str = "") -> list[str]:
    found = selection.find_pairs(store, kernels.split(), userlands.split(), named.split())
    return [f"{Path(pair.kernel).name}+{Path(pair.userland).name}" for pair in found]


def test_nothing_means_the_images_each_pair_once(store: Store) -> None:
    native = {f"{image.kernel}+{image.userland}" for image in store.catalogue.images.values()}
    assert set(pairs(store)) == native and len(pairs(store)) == len(native)
    assert pairs(store) == pairs(store, named="*")


def test_kernels_and_userlands_are_multiplied(store: Store) -> None:
    assert pairs(store, "6.1 5.10", "2.36 bookworm") == ["5.10+bookworm", "6.1+bookworm"]
    everything = len(store.kernel_names("*")) * len(store.userland_names("*"))
    assert len(pairs(store, "*", "*")) == everything
    assert pairs(store, "6.1") == [f"6.1+{name}" for name in store.userland_names("*")]
    assert pairs(store, userlands="bookworm") == [f"{name}+bookworm" for name in store.kernel_names("*")]
    assert pairs(store, "6.1*", "bookworm") == ["6.1+bookworm", "6.12+bookworm"]


def test_options_beside_an_image_take_the_place_of_its_own(store: Store) -> None:
    image = store.image()
    assert pairs(store, named="default") == [f"{image.kernel}+{image.userland}"]
    assert pairs(store, "5.10", named="default") == [f"5.10+{image.userland}"]


def test_own_pieces_are_taken_by_absolute_path(store: Store) -> None:
    (pair,) = selection.find_pairs(store, ["./bzImage"], ["bookworm"], [])
    assert pair.kernel == str(Path("bzImage").absolute())
    assert pairs(store, "./bzImage 6.1", "bookworm") == ["6.1+bookworm", "bzImage+bookworm"]


@pytest.mark.parametrize(
    ("kernels", "userlands", "named", "known"),
    [("6.2", "", "", "6.12"), ("9.*", "", "", "6.12"), ("", "bookwrm", "", "bookworm"), ("", "", "nope", "default"),
     ("", "", "x*", "default")],
)  # fmt: skip
def test_what_matches_nothing_is_told_with_what_there_is(
    store: Store, kernels: str, userlands: str, named: str, known: str
) -> None:
    with pytest.raises(UsageError) as caught:
        pairs(store, kernels, userlands, named)
    assert known in caught.value.hint


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two scenarios and a C file, and nothing of the lab's own."""
    for name in ("alpha", "alpine"):
        folder = tmp_path / "scenarios" / name
        folder.mkdir(parents=True)
        (folder / "scenario.yaml").write_text(YAML.format(name=name))
        (folder / "x.c").write_text("int main(void) { return 0; }\n")
    (tmp_path / "own.c").write_text("int main(void) { return 0; }\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(selection.scenario, "folders", lambda: (tmp_path / "scenarios",))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), ["alpha", "alpine"]),
        (("alpine",), ["alpine"]),
        (("alp*",), ["alpha", "alpine"]),
        (("*", "alpha", "./scenarios/alpha", "scenarios/alpha/scenario.yaml"), ["alpha", "alpine"]),
        (("own.c", "alpha"), ["own", "alpha"]),
    ],
)
def test_scenarios(place: Path, words: tuple[str, ...], names: list[str]) -> None:
    assert [found.name for found in selection.find_scenarios(words)] == names


@pytest.mark.parametrize("word", ["alpa", "b*", "./nothing", "no.c"])
def test_unknown_scenarios(place: Path, word: str) -> None:
    with pytest.raises(UsageError):
        selection.find_scenarios([word])


def test_a_fingerprint_changes_with_the_scenarios_files_only(place: Path) -> None:
    (found,) = selection.find_scenarios(["alpha"])
    folder = place / "scenarios/alpha"
    first, program = fingerprint.of_files(found), fingerprint.of_program(found)
    (folder / "runs").mkdir()
    (folder / "notes.txt").write_text("x")
    assert (fingerprint.of_files(found), fingerprint.of_program(found)) == (first, program)
    (folder / "inner").mkdir()
    for name in ("x.h", "x.c", "inner/x.h", "scenario.yaml"):
        before, program = fingerprint.of_files(found), fingerprint.of_program(found)
        (folder / name).write_text("changed")
        assert fingerprint.of_files(found) != before, name
        assert (fingerprint.of_program(found) != program) is (name != "scenario.yaml"), name


def test_a_fingerprint_is_the_same_wherever_the_scenario_lies(place: Path, tmp_path: Path) -> None:
    (found,) = selection.find_scenarios(["alpha"])
    copied = shutil.copytree(place / "scenarios/alpha", tmp_path / "elsewhere")
    (copy,) = selection.find_scenarios([str(copied)])
    for digest in (fingerprint.of_files, fingerprint.of_program):
        assert digest(found) == digest(copy)


def test_labels_are_all_different_and_fit_for_files() -> None:
    found = selection.labels(["6.1", "/a/my kernel", "/b/my kernel", "./.hidden", "/", "6.1"])
    assert found == {"6.1": "6.1", "/a/my kernel": "my_kernel", "/b/my kernel": "my_kernel.2", "./.hidden": "hidden",
                     "/": "own"}  # fmt: skip
    assert selection.labels(["a"], {"a", "a.2"}) == {"a": "a.3"}


def environment(place: Path, sysctl: str = "", thp: str = "", mounts: str = "") -> dict[str, str]:
    folder = place / "evidence/environment"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("sysctl", sysctl), ("thp", thp), ("mounts", mounts)):
        (folder / name).write_text(content)
    return residue.state(place)


def test_residue_is_what_the_next_case_finds_changed(tmp_path: Path) -> None:
    mounts = "proc /proc proc rw 0 0\ncase /case tmpfs rw 0 0\n"
    before = environment(tmp_path, "vm.a = 1\nvm.b = 2\nfs.file-nr = 5\nkernel.tainted = 0\n", "enabled = [always]\n",
                         mounts)  # fmt: skip
    assert before == {"vm.a": "1", "vm.b": "2", "kernel.tainted": "0", "transparent_hugepage/enabled": "[always]",
                      "mounts": "/case /proc"}  # fmt: skip
    now = environment(tmp_path, "vm.a = 9\nvm.b = 9\nfs.file-nr = 7\nkernel.tainted = 512\n", "enabled = [never]\n",
                      mounts + "x /mnt tmpfs rw 0 0\n")  # fmt: skip
    found = residue.differences(before, now, {"vm.b"})
    for word in ("vm.a is '9', was '1'", "kernel.tainted", "transparent_hugepage/enabled", "/mnt"):
        assert word in found
    assert "vm.b" not in found and "file-nr" not in found
    assert residue.differences(before, before, ()) == ""
    assert residue.differences(before, residue.state(tmp_path / "nothing"), ()) == "", "not measured is not changed"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("4,700,9,-;WARNING: CPU: 0 PID: 1 at mm/mmap.c:1 x", "WARNING: CPU: 0 PID: 1 at mm/mmap.c:1 x"),
        ("1,700,9,-;BUG: unable to handle page fault", "BUG: unable to handle page fault"),
        ("6,700,9,-;program[75]: segfault at 0 ip 0 sp 0 error 4", ""),
        ("12,700,9,-;BUG: unable to handle page fault, says a program", ""),
        ("garbage", ""),
    ],
)
def test_trouble_in_the_kernel_log(tmp_path: Path, line: str, said: str) -> None:
    assert residue.kernel_trouble(tmp_path) == ""
    (tmp_path / "kernel.log").write_text(f"6,699,8,-;fine\n{line}\n DEVICE=x\n")
    assert residue.kernel_trouble(tmp_path) == said
