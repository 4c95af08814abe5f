/* Cases by the product of what there may be at a name, and what is done with it. */
#include "fs.h"

#include <stdio.h>
#include <string.h>

struct part {
	const char *name;
	const char *steps;
};

#define N_OF(table) (sizeof(table) / sizeof((table)[0]))

/* What is there as "x". */
static const struct part things[] = {
	{"nothing", ""},
	{"file", "mk x text;"},
	{"empty-dir", "mkdir x;"},
	{"full-dir", "mkdir x;mk x/in inside;"},
	{"link-to-file", "mk f target;symlink f x;"},
	{"link-to-dir", "mkdir d;symlink d x;"},
	{"link-to-none", "symlink none x;"},
	{"link-to-itself", "symlink x x;"},
	{"fifo", "mknod x fifo;"},
	{"socket", "bind x;"},
	{"closed-file", "mk x text;chmod x 0;"},
	{"closed-dir", "mkdir x;mk x/in inside;chmod x 0;"},
};

static const char *const open_flags[] = {
	"r",
	"w+nonblock",
	"rw",
	"w+trunc+nonblock",
	"w+append+nonblock",
	"w+creat+nonblock",
	"rw+creat+excl",
	"w+creat+trunc+nonblock",
	"rw+creat+nofollow",
	"r+dir",
	"rw+dir",
	"r+nofollow+nonblock",
	"path",
	"path+nofollow",
	"path+dir",
	"rw+tmpfile",
	"r+tmpfile",
	"r+creat+excl+nofollow",
	"r+trunc+nonblock",
	"r+nonblock+noatime",
};

static void run_open(void)
{
	char name[128], steps[256];

	for (size_t i = 0; i < N_OF(things); i++) {
		for (size_t j = 0; j < N_OF(open_flags); j++) {
			const char *flags = open_flags[j];

			/* Without the other end, a pipe is waited for. */
			if (strcmp(things[i].name, "fifo") == 0 && !strstr(flags, "nonblock") &&
			    strcmp(flags, "r") == 0)
				flags = "r+nonblock";
			snprintf(name, sizeof(name), "%s+%s", things[i].name, open_flags[j]);
			snprintf(steps, sizeof(steps),
				 "%sopen a x %s 0640;fstat a;flags a;close a;tree", things[i].steps,
				 flags);
			run_case("open", name, steps);
		}
	}
}

static const struct part deeds[] = {
	{"unlink", "unlink x"},
	{"rmdir", "rmdir x"},
	{"mkdir", "mkdir x 0750;lstat x"},
	{"symlink", "symlink text x"},
	{"mkfifo", "mknod x fifo 0620;lstat x"},
	{"mkreg", "mknod x reg 0620;lstat x"},
	{"link", "link x y;lstat y"},
	{"link-follow", "link x y follow;lstat y"},
	{"link-onto", "mk y other;link y x"},
	{"chmod", "chmod x 0751;lstat x"},
	{"truncate", "trunc x 3;lstat x"},
	{"list", "tree x"},
	{"readlink", "readlink x"},
	{"chdir", "chdir x;cwd"},
	{"settime", "settime x 100.5 200.000000007;times x"},
	{"settime-of-link", "settime x 100.5 200.000000007 nofollow;times x"},
	{"access-read", "access x 4"},
	{"access-write", "access x 2"},
	{"access-own", "access x 6 own"},
	{"setxattr", "setx x user.a value;getx x user.a"},
	{"getxattr", "getx x user.none"},
	{"listxattr", "listx x"},
	{"chown-to-me", "chown x me me;lstat x"},
	{"chown-to-none", "chown x - -;lstat x"},
	{"lchown-to-other", "lchown x 12345 -;lstat x"},
	{"stat", "stat x;lstat x"},
	{"statfs", "statfs x"},
	{"exec", "exec x"},
	{"bind", "bind x"},
	{"connect", "connect x"},
	{"name-below", "stat x/y;mkdir x/y;unlink x/y;rmdir x/y"},
	{"slash", "stat x/;mkdir x/;unlink x/;rmdir x/"},
	{"dot", "stat x/.;rmdir x/.;unlink x/."},
	{"dotdot", "stat x/..;rmdir x/..;same x/.. ."},
};

static void run_deeds(void)
{
	char name[128], steps[256];

	for (size_t i = 0; i < N_OF(things); i++) {
		for (size_t j = 0; j < N_OF(deeds); j++) {
			snprintf(name, sizeof(name), "%s+%s", things[i].name, deeds[j].name);
			snprintf(steps, sizeof(steps), "%s%s;tree", things[i].steps,
				 deeds[j].steps);
			run_case("name", name, steps);
		}
	}
}

/* What is moved, from "x". */
static const struct part moved[] = {
	{"nothing", ""},
	{"file", "mk x text;"},
	{"empty-dir", "mkdir x;"},
	{"full-dir", "mkdir x;mk x/in inside;"},
	{"link", "symlink text x;"},
	{"fifo", "mknod x fifo;"},
};

/* And what is there, as "y". */
static const struct part onto[] = {
	{"nothing", ""},
	{"file", "mk y other;"},
	{"empty-dir", "mkdir y;"},
	{"full-dir", "mkdir y;mk y/in inside;"},
	{"link", "symlink other y;"},
	{"fifo", "mknod y fifo;"},
	{"second-link", "link x y;"},
};

static void run_rename(void)
{
	static const char *const flags[] = {"plain", "noreplace", "exchange", "unknown"};
	char name[128], steps[256];

	for (size_t i = 0; i < N_OF(moved); i++) {
		for (size_t j = 0; j < N_OF(onto); j++) {
			for (size_t k = 0; k < N_OF(flags); k++) {
				snprintf(name, sizeof(name), "%s-onto-%s+%s", moved[i].name,
					 onto[j].name, flags[k]);
				snprintf(steps, sizeof(steps), "%s%srename x y %s;tree",
					 moved[i].steps, onto[j].steps, flags[k]);
				run_case("rename", name, steps);
			}
		}
	}
}

static void run_modes(void)
{
	static const char *const modes[] = {"0000",  "0400",  "0200",  "0644",	"0755",
					    "01777", "02755", "04755", "06711", "07777"};
	static const char *const umasks[] = {"0", "022", "077", "0777"};
	char name[128], steps[256];

	for (size_t i = 0; i < N_OF(modes); i++) {
		for (size_t j = 0; j < N_OF(umasks); j++) {
			snprintf(name, sizeof(name), "%s-under-%s", modes[i], umasks[j]);
			snprintf(steps, sizeof(steps),
				 "umask %s;open a f rw+creat+excl %s;put a text;stat f;mkdir d %s;"
				 "stat d;mknod p fifo %s;stat p;chmod f %s;stat f;access f "
				 "4;access f 2",
				 umasks[j], modes[i], modes[i], modes[i], modes[i]);
			run_case("mode", name, steps);
		}
	}
}

void run_matrices(void)
{
	run_open();
	run_deeds();
	run_rename();
	run_modes();
}
