"""Small binaries with debugging information, compiled by the tests that use them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

BUILD_ID = "0123456789abcdef0123456789abcdef01234567"

SOURCE = """
#include <stddef.h>
struct unknown;
enum color { RED = -1, GREEN, BLUE = 7 };
enum { NAMELESS = 3, BIG = 0x80000000u } nameless;
typedef unsigned long size_type;
typedef struct { int x, y; } point_t;
union number { char bytes[8]; double real; const volatile long *whole; };
struct node {
    struct node *next, **previous;
    const char *name;
    unsigned used : 1, color : 3;
    long long : 0;
    long long wide : 40;
    enum color tint : 4;
    _Bool flag : 1;
    union { int one; struct { short low, high; }; };
    struct { point_t at; } place;
    int grid[2][3];
    union number number;
    int (*compare)(const struct node *, void *);
    struct unknown *far;
    struct later *later;
    size_type size;
    unsigned char tail[];
};
struct later { struct node *const back; float ratio; long double precise; struct node nodes[2]; };
struct only_asked { int a; };
enum sparse { LONELY = 12 };
static const char banner[] = "Linux version";
const char linux_banner[] = "Linux version 1.2.3 of the tests\\n";
struct node first = { .name = "first" };
static int counter = 5;
_Thread_local long local = 3;
struct only_asked asked;
enum sparse lonely;
size_type several[4];
static int function(const struct node *node) { return node->grid[1][2] + counter + (int)local + banner[0]; }
int main(void) { return function(&first) == RED; }
"""


def compiled(folder: Path, *flags: str) -> Path:
    """The program of SOURCE, with the build-id BUILD_ID."""
    compiler = shutil.which("gcc")
    if not compiler:
        pytest.skip("needs gcc")
    source, program = folder / "sample.c", folder / "sample"
    source.write_text(SOURCE)
    command = [compiler, "-g", "-O0", f"-Wl,--build-id=0x{BUILD_ID}", *flags, "-o", str(program), str(source)]
    subprocess.run(command, check=True)
    return program
