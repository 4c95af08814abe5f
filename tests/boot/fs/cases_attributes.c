/* Modes, owners, times. */
#include "fs.h"

const struct fs_case cases_attributes[] = {
	{"chmod", "mk f;chmod f 0;stat f;chmod f 07777;stat f;chmod f 0644;stat f;chmod f "
		  "0100000644;stat f"},
	{"chmod of nothing", "chmod f 0644;mk f;chmod f/ 0644;chmod f/x 0644;mkdir d;chmod d/x 1"},
	{"chmod through a link",
	 "mk f;symlink f s;chmod s 0600;stat f;lstat s;symlink none t;chmod t 0600"},
	{"chmod by descriptor",
	 "mk f;open a f r;fchmod a 0600;stat f;unlink f;fchmod a 0640;fstat a"},
	{"chmod of a directory", "mkdir d;chmod d 0500;mk d/f;mkdir d/e;chmod d 0300;mk d/f;tree "
				 "d;cat d/f;chmod d 0600;stat d/f;chmod d 0700;tree"},
	{"a directory that may not be entered",
	 "mkdir d;mk d/f x;chmod d 0600;stat d/f;cat d/f;chdir d;unlink d/f;rename d/f g;chmod d "
	 "0700;tree"},
	{"a directory that may not be listed", "mkdir d;mk d/f x;chmod d 0300;tree d;cat d/f;open "
					       "a d r;open a d path;cat a:f;chmod d 0700"},
	{"a directory that may not be changed",
	 "mkdir d;mk d/f x;chmod d 0500;unlink d/f;rename d/f d/g;link d/f d/g;symlink x d/g;mknod "
	 "d/p fifo;mkdir d/e;rmdir d/e;open a d rw+tmpfile;chmod d/f 0600;stat d/f;chmod d "
	 "0700;tree"},
	{"a directory that may not be changed is moved",
	 "mkdir d;mkdir e;chmod d 0500;rename d e/d;rename d g;stat g;chmod g 0700"},
	{"setgid of a directory",
	 "mkdir d;chmod d 02755;stat d;mk d/f;stat d/f;mkdir d/e;stat d/e;chmod d 0755;stat d"},
	{"sticky", "mkdir d;chmod d 01777;stat d;mk d/f;unlink d/f;mk g;chmod g 01644;stat g"},
	{"file not to be read",
	 "mk f text;chmod f 0200;open a f r;open a f w;access f 4;access f 2;cat f"},
	{"file not to be read is written", "mk f text;chmod f 0200;open a f w;put a x 1;close "
					   "a;open a f w+append;put a yz;close a;chmod f "
					   "0600;cat f;open b f r;chmod f 0200;open a f w;put a "
					   "abc 2;get b 10;close a;chmod f 0600;cat f"},
	{"file not to be written", "mk f text;chmod f 0400;open a f w;open a f r;open a f rw;trunc "
				   "f 1;access f 2;cat f;unlink f"},
	{"chown", "mk f;chown f me me;chown f me -;chown f - me;chown f - -;stat f;chown f 12345 "
		  "-;chown f - 12345;chown f 12345 12345;stat f"},
	{"chown of nothing", "chown f me me;lchown f me me;mk f;chown f/x me me"},
	{"chown through a link", "mk f;symlink f s;chown s me me;lchown s me me;lstat s;symlink "
				 "none t;chown t me me;lchown t me me;lchown t 12345 -"},
	{"chown by descriptor",
	 "mk f;open a f r;fchown a me me;fchown a 12345 -;fstat a;unlink f;fchown a me me"},
	{"chown of a directory", "mkdir d;chown d me me;chown d 12345 12345;stat d"},
	{"umask", "umask 077;mk f;mkdir d;stat f;stat d;umask 0;mk g;mkdir e;stat g;stat e;mknod p "
		  "fifo 0666;stat p"},
	{"umask is no limit of chmod",
	 "umask 0777;mk f;stat f;chmod f 0666;stat f;mkdir d;stat d;chmod d 0777"},
	{"a mode of its own on creation",
	 "open a f rw+creat 0604;stat f;open b f rw+creat 0777;stat f;open c g rw+creat 07777;stat "
	 "g;open e h rw+creat 0;stat h"},
	{"access", "mk f;access f 0;access f 4;access f 2;access f 1;chmod f 0111;access f "
		   "1;access f 4;access g 0;access f 8"},
	{"access through a link", "mk f;symlink f s;symlink none t;access s 4;access t 0;mkdir "
				  "d;access d 7;chmod d 0;access d 4;access d/x 0;chmod d 0700"},
	{"stat of a link", "symlink 0123456789 s;lstat s;stat s;mk 0123456789 x;stat s"},
	{"stat by descriptor",
	 "mk f text;open a f r;stat a:;open b f path;stat b:;rename f g;stat a:;unlink g;stat a:"},
	{"masks", "mk f text;mask f;mkdir d;mask d;symlink f s;mask s"},
	{"same file", "mk f;link f g;symlink f s;mk h;same f g;same f s;same f h;mkdir d;same d "
		      "d/.;same d/.. .;rename f d/f;same d/f g"},
	{"links of directories", "mkdir d;links d;mk d/f;links d;symlink x d/s;links d;mkdir "
				 "d/e;links d;rename d/e e;links d"},
	{"statfs", "statfs .;mk f;statfs f;mkdir d;statfs d;statfs none"},
	{"times are set", "mk f;settime f 1.000000001 2.999999999;times f;settime f 100 -100;times "
			  "f;settime f 0 0;times f;settime f 4102444800.5 4102444800.25;times f"},
	{"times far away", "mk f;settime f 5000000000 5000000000;times f;settime f -2147483648 "
			   "-2147483648;times f;settime f 99999999999 99999999999;times f"},
	{"times now", "mk f;settime f 1 2;settime f now omit;times f;settime f 1 2;settime f omit "
		      "now;times f;settime f now now;times f"},
	{"times omitted", "mk f;settime f 1 2;settime f omit omit;times f;settime f 3 omit;times "
			  "f;settime f omit 4;times f;settime g omit omit;settime g 1 2"},
	{"times that are none", "mk f;settime f 1.1000000000 1;settime f 1.-5 1"},
	{"times of a link", "mk f;symlink f s;settime f 1 2;settime s 3 4 nofollow;times s;times "
			    "f;settime s 5 6;times f;times s"},
	{"times by descriptor", "mk f;open a f r;fsettime a 1 2;times f;chmod f 0;fsettime a 3 "
				"4;fsettime a now now;times f;unlink f;fsettime a 5 6;times a:"},
	{"times of a directory",
	 "mkdir d;settime d 1 2;times d;mk d/f;times d;settime d 1 2;unlink d/f;times d"},
	{"times of what may not be written",
	 "mk f;chmod f 0;settime f now now;settime f 1 2;times f"},
	{"what changes by writing", "mk f text;mark f a;open a f w;put a x;close a;moved f a"},
	{"what changes by reading", "mk f text;mark f a;cat f;moved f a"},
	{"what changes by truncating",
	 "mk f text;mark f a;trunc f 2;moved f a;mark f b;trunc f 100;moved f b"},
	{"what changes by truncating to the same",
	 "mk f text;mark f a;trunc f 4;moved f a;mark f b;open a f w;ftrunc a 4;moved f b"},
	{"what changes by opening with trunc",
	 "mk f text;mark f a;open a f w+trunc;moved f a;mk g;mark g b;open b g w+trunc;moved g b"},
	{"what changes by chmod",
	 "mk f;mark f a;chmod f 0600;moved f a;mark f b;chown f me me;moved f b"},
	{"what changes by a link", "mk f;mkdir d;mark f a;mark d b;link f d/g;moved f a;moved d "
				   "b;mark f c;unlink d/g;moved f c;moved d b"},
	{"what changes by a rename", "mk f;mkdir d;mkdir e;rename f d/f;mark d/f a;mark d b;mark e "
				     "c;rename d/f e/f;moved e/f a;moved d b;moved e c"},
	{"what changes by a rename onto something",
	 "mk f;mkdir d;mk d/g;mark d a;rename f d/g;moved d a"},
	{"what changes by names",
	 "mkdir d;mark d a;mk d/f;moved d a;mark d b;mkdir d/e;moved d b;mark d c;symlink x "
	 "d/s;moved d c;mark d e;unlink d/f;moved d e;mark d f;rmdir d/e;moved d f"},
	{"what changes by no names",
	 "mkdir d;mk d/f;mark d a;mk d/f more;chmod d/f 0600;tree d;stat d/none;moved d a"},
	{"what changes by attributes", "mk f;mark f a;setx f user.a b;moved f a;mark f b;getx f "
				       "user.a;listx f;moved f b;mark f c;remx f user.a;moved f c"},
	{"what changes by a map", "open a f rw+creat;ftrunc a 4096;mark f a;map a 4096 shared;poke "
				  "a 0 x;msync a;unmap a;sync a full;moved f a"},
	{"what changes by fallocate",
	 "open a f rw+creat;fill a 0 8192;mark f a;falloc a punch+keep 0 4096;moved f a;mark f "
	 "b;falloc a plain 0 20000;moved f b"},
	{"what changes by settime",
	 "mk f;mark f a;settime f omit omit;moved f a;settime f omit 5;moved f a"},
	{"what changes by copying",
	 "mk f text;open a f r;open b g rw+creat;mark g a;copy b a 4;moved g a"},
	{"a new file's times", "mk f;times f;mkdir d;times d;symlink x s;times s;mknod p "
			       "fifo;times p;open a . rw+tmpfile;fstat a"},
	{"another sees it", "mk f;peer stat f;chmod f 0600;peer stat f;trunc f 100;peer stat "
			    "f;peer chmod f 0640;stat f;peer settime f 1 2;times f"},
	{"opened before the mode",
	 "mk f text;open a f r;chmod f 0;get a 4;open b f r;chmod f 0644;open b f r"},
	{NULL, NULL},
};
