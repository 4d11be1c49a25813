"""What a hostile program leaves in a guest that several cases use: ended with it, or noticed by the next case."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import NEWEST, OLDEST, Lab

from orchestrator.model import Outcome

HEAD = """
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "lab.h"

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	return fd >= 0 && write(fd, text, strlen(text)) >= 0 && close(fd) == 0;
}

"""
# a daemon in the root cgroup, in a session of its own, that only SIGKILL ends
ESCAPE = """
int main(void)
{
	int pipes[2];
	char c;

	if (pipe(pipes) < 0)
		return 1;
	if (fork() == 0) {
		setsid();
		if (fork() == 0) {
			for (int i = 1; i < NSIG; i++)
				signal(i, SIG_IGN);
			prctl(PR_SET_NAME, "escaped");
			if (put("/sys/fs/cgroup/cgroup.procs", "0") && write(pipes[1], "x", 1) == 1)
				while (1)
					pause();
		}
		_exit(0);
	}
	close(pipes[1]);
	wait(0);
	mkdir("/sys/fs/cgroup/labrun-1/x", 0700);
	syscall(SYS_mq_open, "queue", O_CREAT | O_RDWR, 0600, 0);
	lab_note_i64("answer", read(pipes[0], &c, 1));
	return 0;
}
"""
LOOK = """
int main(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *d;
	long found = 1;

	while ((d = readdir(dir))) {
		char path[300], name[32] = "";
		int fd;

		snprintf(path, sizeof(path), "/proc/%s/comm", d->d_name);
		fd = open(path, O_RDONLY);
		if (fd >= 0 && read(fd, name, 7) == 7 && !strcmp(name, "escaped"))
			found = -1;
		close(fd);
	}
	if (syscall(SYS_mq_open, "queue", O_RDWR, 0600, 0) >= 0)
		found = -2;
	lab_note_i64("answer", found);
	return 0;
}
"""
FILES = """
int main(void)
{
	lab_note_i64("answer", put("/root/left", "x") && mkdir("/var/left", 0700) == 0);
	return 0;
}
"""
SETTING = 'int main(void)\n{\n\tlab_note_i64("answer", put("/sys/kernel/mm/ksm/run", "1"));\n\treturn 0;\n}\n'
CGROUP = 'int main(void)\n{\n\tlab_note_i64("answer", mkdir("/sys/fs/cgroup/mine", 0700) == 0);\n\treturn 0;\n}\n'
# the kernel starts it for a core dump, so that it is nobody's child, and labrun can't know of it
HELPER = """
int main(int argc, char **argv)
{
	(void)argv;
	mkfifo("/tmp/up", 0600);
	if (argc > 1) {
		open("/tmp/up", O_WRONLY);
		while (1)
			pause();
	}
	put("/proc/sys/kernel/core_pattern", "|/case/program stay");
	if (fork() == 0)
		raise(SIGABRT);
	lab_note_i64("answer", open("/tmp/up", O_RDONLY) >= 0);
	return 0;
}
"""
YAML = """\
name: {0}
summary: leaves something
claims: [test.answer]
expectations:
  - {{id: answer, claim: test.answer, at: exit, check: note("answer") == 1, because: x, source: x}}
"""


def matrix(lab: Lab, first: str, pair: tuple[str, str]) -> tuple[str, dict[str, Any]]:
    """What `lab matrix` says of two cases, the second one in the first one's guest, and its record."""
    for name, body in (("first", first), ("second", LOOK)):
        (lab.folder / name).mkdir()
        (lab.folder / name / f"{name}.c").write_text(HEAD + body)
        (lab.folder / name / "scenario.yaml").write_text(YAML.format(name))
    kernel, userland = pair
    done = lab("matrix", "./first", "./second", "-k", kernel, "-u", userland, "-j", "1", "-o", "m")
    data: dict[str, Any] = json.loads((lab.folder / "m/matrix.json").read_text())
    for name in ("first", "second"):
        assert lab.record(f"m/{name}-{kernel}-{userland}").outcome is Outcome.PASS, done.stdout + done.stderr
    return done.stderr + "".join(lab.record(f"m/second-{kernel}-{userland}").messages), data


@pytest.mark.parametrize("pair", [OLDEST, NEWEST])
def test_who_escapes_is_ended_with_the_program(lab: Lab, pair: tuple[str, str]) -> None:
    said, data = matrix(lab, ESCAPE, pair)
    assert data["boots"] == 1 and "left something behind" not in said


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (FILES, ("changed-files is '", "/root/left", "/var/left", "files is '")),
        (SETTING, ("ksm/run is '1', was '0'",)),
        (CGROUP, ("cgroups is 'nr_descendants 1'",)),
        (HELPER, ("processes is '/",)),
    ],
    ids=["files", "setting", "cgroup", "process"],
)
def test_what_stays_is_noticed(lab: Lab, program: str, told: tuple[str, ...]) -> None:
    said, data = matrix(lab, program, OLDEST)
    assert "first-5.10-bullseye left something behind" in said
    for words in told:
        assert words in said
    assert data["boots"] == 2
