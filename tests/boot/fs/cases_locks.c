/* Locks of processes, of open files and of whole files; leases; what tells of changes. */
#include "fs.h"

#define F "open a f rw+creat;"

const struct fs_case cases_locks[] = {
	{"one process", F "lock a w 0 10;lock a r 0 10;lock a w 5 10;who a w 0 100;lock a u 0 0"},
	{"a writer in the way",
	 F "lock a w 0 10;peer open b f rw;peer who b w 0 100;peer lock b w 5 1;peer lock b r 5 "
	   "1;peer lock b w 10 5;lock a u 0 0;peer lock b w 5 1"},
	{"readers beside one another",
	 F "lock a r 0 10;peer open b f rw;peer lock b r 0 10;peer lock b w 0 10;lock a w 0 "
	   "10;peer lock b u 0 0;lock a w 0 10"},
	{"parts of a range",
	 F "lock a w 0 100;lock a u 40 20;peer open b f rw;peer who b w 0 40;peer who b w 40 "
	   "20;peer who b w 60 100;peer lock b w 40 20;lock a w 30 20"},
	{"to the end of the file", F "lock a w 100 0;peer open b f rw;peer who b r 1000000 1;peer "
				     "lock b w 0 100;peer lock b w 99 2"},
	{"backwards",
	 F "lock a w 100 -50;peer open b f rw;peer who b w 0 0;lock a w 10 -50;lock a w -1 1"},
	{"upgrade", F "lock a r 0 10;lock a w 0 10;peer open b f rw;peer lock b r 0 10;lock a r 0 "
		      "10;peer lock b r 0 10;lock a w 0 10"},
	{"given up by close", F
	 "lock a w 0 10;peer open b f rw;peer lock b w 0 10;open c f r;close c;peer lock b w 0 10"},
	{"given up by the end of a process",
	 F "peer open b f rw;peer lock b w 0 10;lock a w 0 10;leave;lock a w 0 10"},
	{"waited for", F "lock a w 0 10;peer open b f rw;later lock b w 0 10 wait;nap;lock a u 0 "
			 "10;join;lock a w 0 10;who a w 0 10"},
	{"waited for until the end of a process",
	 F "peer open b f rw;peer lock b w 0 10;leave;lock a w 0 10 wait"},
	{"a dead lock", F "lock a w 0 10;peer open b f rw;peer lock b w 20 10;later lock b w 0 10 "
			  "wait;nap;lock a w 20 10 wait;lock a u 0 0;join"},
	{"for writing, opened for reading",
	 "mk f;open a f r;lock a w 0 1;lock a r 0 1;open b f w;lock b r 0 1;lock b w 0 1"},
	{"on a directory",
	 "mkdir d;open a d r;lock a r 0 1;lock a w 0 1;flock a ex;peer open b d r;peer flock b sh"},
	{"on a pipe", "mknod p fifo;open a p rw;lock a w 0 1;flock a ex"},
	{"on O_PATH", "mk f;open a f path;lock a r 0 1;flock a sh"},
	{"on a file that is gone",
	 F "peer open b f rw;unlink f;lock a w 0 10;peer lock b w 0 10;flock a ex;peer flock b ex"},
	{"through a second name",
	 F "link f g;lock a w 0 10;peer open b g rw;peer lock b w 0 10;peer flock b ex;flock a ex"},
	{"after a rename", F "lock a w 0 10;rename f g;peer open b g rw;peer lock b w 0 10"},
	{"open files, two of one process",
	 F "open b f rw;lock a w 0 10 ofd;lock b w 0 10 ofd;lock b r 5 1 ofd;who b w 0 0 ofd;lock "
	   "a u 0 0 ofd;lock b w 0 10 ofd"},
	{"open files, shared by dup", F "dup b a;lock a w 0 10 ofd;lock b w 0 10 ofd;close a;open "
					"c f rw;lock c w 0 10 ofd;close b;lock c w 0 10 ofd"},
	{"open files, shared with a child",
	 F "lock a w 0 10 ofd;peer lock a w 0 10 ofd;close a;open c f rw;lock c w 0 10 "
	   "ofd;leave;lock c w 0 10 ofd"},
	{"open files against processes",
	 F "lock a w 0 10 ofd;lock a w 0 10;peer open b f rw;peer lock b w 5 1;peer who b w 0 "
	   "0;lock a u 0 0 ofd;peer lock b w 5 1"},
	{"open files, not given up by close of another",
	 F "lock a w 0 10 ofd;open c f rw;close c;peer open b f rw;peer lock b w 0 10 ofd"},
	{"open files, waited for", F "open b f rw;lock a w 0 10 ofd;peer open c f rw;later lock c "
				     "w 5 1 ofd wait;nap;lock a u 0 0 ofd;join"},
	{"flock", F "flock a ex;flock a ex;flock a sh;flock a un;flock a un"},
	{"flock, two of one process", F "open b f rw;flock a ex;flock b ex;flock b sh;flock a "
					"sh;flock b sh;flock a ex;flock b un;flock a ex"},
	{"flock, another process", F "flock a ex;peer open b f rw;peer flock b ex;peer flock b "
				     "sh;flock a un;peer flock b ex;flock a sh;leave;flock a sh"},
	{"flock, shared by dup",
	 F "dup b a;flock a ex;flock b ex;close a;open c f rw;flock c ex;close b;flock c ex"},
	{"flock, shared with a child",
	 F "flock a ex;peer flock a sh;close a;open c f rw;flock c ex;flock c sh;leave;flock c ex"},
	{"flock, waited for",
	 F "flock a ex;peer open b f rw;later flock b ex wait;nap;flock a un;join;flock a ex"},
	{"flock, opened for reading", "mk f;open a f r;flock a ex;open b f r;flock b sh"},
	{"flock beside fcntl", F "flock a ex;lock a w 0 10;peer open b f rw;peer lock b w 0 "
				 "10;peer lock b w 10 10;peer flock b sh"},
	{"errors", F "close a;lock a w 0 1;flock a ex;open a f rw;lock a w 0 1 ofd;lock a r "
		     "9223372036854775807 2;lock a r 9223372036854775807 1"},
	{"leases", "mk f text;open a f r;lease a r;lease a u;open b f r;lease a w"},
	{"leases of others' kinds", "mk f;open a f rw;lease a r;mkdir d;open b d r;lease b r"},
	{"inotify, names", "mkdir d;watch d;mk d/f x;events;unlink d/f;events;mkdir d/e;rename d/e "
			   "d/g;rmdir d/g;events"},
	{"inotify, a file",
	 "mk f;watch f;open a f w;put a x;ftrunc a 0;chmod f 0600;close a;unlink f;events"},
	{"inotify, links", "mkdir d;mk f;watch d;link f d/g;symlink x d/s;rename f "
			   "d/h;events;rename d/h f;unlink d/s;events"},
	{"inotify, another's", "mkdir d;watch d;peer mk d/f x;peer unlink d/f;events"},
	{"inotify, nothing", "watch none;mk f;watch f;cat f;events"},
	{NULL, NULL},
};
