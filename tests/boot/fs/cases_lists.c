/* Directories with many names, and such as change while they are read. */
#include "fs.h"

const struct fs_case cases_lists[] = {
	{"an empty one", "mkdir d;opendir d;next 0;next 0;rewind;next 0"},
	{"nothing, a file, a link",
	 "opendir none;mk f;opendir f;symlink f s;opendir s;mkdir d;symlink d t;opendir t;next 0"},
	/* To make names and remove them costs more than all else. */
	{"3000 names, two at once",
	 "mkdir d;many d 3000;opendir d;next 1000;peer opendir d;peer next 0;next 0;rewind;next "
	 "0;next 0;opendir d;next 0"},
	{"kinds",
	 "mkdir d;mk d/f;mkdir d/d;symlink x d/l;mknod d/p fifo;bind d/s;opendir d;next 0;tree d"},
	{"back to a place", "mkdir d;many d 500;opendir d;next 100;twice 50;next 100;twice "
			    "200;twice 5;rewind;twice 50;next 0"},
	{"made while read", "mkdir d;many d 100;opendir d;next 10;mk d/new x;rewind;next 0"},
	{"removed while read",
	 "mkdir d;many d 100;opendir d;next 10;unlink d/name-000099;rewind;next 0"},
	{"emptied while read", "mkdir d;many d 1000;empty d;empty d;rmdir d"},
	{"filled while read", "mkdir d;many d 500;once d;rmdir d"},
	{"moved while read",
	 "mkdir d;many d 300;opendir d;next 100;rename d e;next 0;rewind;next 0"},
	{"gone while read", "mkdir d;opendir d;next 1;rmdir d;next 0;rewind;next 0"},
	{"the mode changes", "mkdir d;many d 10;opendir d;chmod d 0;next 0;rewind;next 0;chmod d "
			     "0700;opendir d;next 0"},
	{"long names",
	 "mkdir d;mk d/%255;mk d/a%254;mk d/b%254;mk d/c%254;mk d/d%254;mk d/e%254;mk d/f%254;mk "
	 "d/g%254;mk d/h%254;opendir d;next 3;twice 3;rewind;next 0"},
	{"listed, then looked up",
	 "mkdir d;many d 200;opendir d;next 0;stat d/name-000000;stat d/name-000199;unlink "
	 "d/name-000000;stat d/name-000000;rewind;next 0"},
	{"another fills it",
	 "mkdir d;opendir d;next 0;peer many d 100;rewind;next 0;peer empty d;rewind;next 0"},
	{"a directory among them goes",
	 "mkdir d;mkdir d/a;mkdir d/b;opendir d;next 0;rmdir d/a;mk d/a x;rewind;next 0;tree"},
	{NULL, NULL},
};
