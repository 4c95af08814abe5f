/* Extended attributes. */
#include "fs.h"

const struct fs_case cases_xattrs[] = {
	{"set and get",
	 "mk f;setx f user.a value;getx f user.a;setx f user.a other;getx f user.a;listx f"},
	{"none", "mk f;getx f user.a;listx f;remx f user.a;getx g user.a;listx g;remx g "
		 "user.a;setx g user.a b"},
	{"create", "mk f;setx f user.a one create;setx f user.a two create;getx f user.a"},
	{"replace", "mk f;setx f user.a one replace;setx f user.a one;setx f user.a two "
		    "replace;getx f user.a"},
	{"an empty value", "mk f;setx f user.a -;getx f user.a;getx f user.a 0;listx f"},
	{"an empty name", "mk f;setx f user. x;setx f '' x;getx f '';remx f user."},
	{"a name of 255",
	 "mk f;setx f user.%250 x;getx f user.%250;listx f;setx f user.%251 x;getx f user.%251"},
	{"sizes", "mk f;setx f user.a %100;getx f user.a 0;getx f user.a 99;getx f user.a 100;getx "
		  "f user.a 200"},
	{"a list that is too long", "mk f;setx f user.one x;setx f user.two x;listx f 5;listx f"},
	{"how long a list is", "mk f;setx f user.one x;listx f"},
	{"a value of 1000", "mk f;setx f user.a %1000;getx f user.a;getx f user.a 0"},
	{"a value of 3000", "mk f;setx f user.a %3000;getx f user.a;setx f user.b x;getx f user.b"},
	{"a value that is too long",
	 "mk f;setx f user.a %65537;setx f user.a %65536;getx f user.a"},
	{"a size that is too large",
	 "mk f;setx f user.a x;getx f user.a 65536;getx f user.a 65537;getx f user.a 69999"},
	{"many", "mk f;manyx f 30;listx f;getx f user.many007;remx f user.many007;listx f;setx f "
		 "user.many007 again;listx f"},
	{"removed", "mk f;setx f user.a x;remx f user.a;getx f user.a;remx f user.a;listx f"},
	{"removed, one of several", "mk f;setx f user.a 1;setx f user.b 2;setx f user.c 3;remx f "
				    "user.b;listx f;getx f user.c"},
	{"other kinds", "mk f;setx f trusted.a x;setx f system.a x;setx f "
			"nothing x;setx f os2.a x;getx f trusted.a;getx f system.a;getx f nothing"},
	{"of a directory", "mkdir d;setx d user.a value;getx d user.a;listx d;chmod d 0500;setx d "
			   "user.b x;chmod d 0700;remx d user.a"},
	{"of a sticky directory", "mkdir d;chmod d 01777;setx d user.a value;getx d user.a"},
	{"of a link", "mk f;symlink f s;setx s user.a value;getx f user.a;lgetx s user.a;lsetx s "
		      "user.b x;lremx s user.a;symlink none t;setx t user.a x;lsetx t user.a x"},
	{"of a pipe", "mknod p fifo;setx p user.a x;getx p user.a;listx p"},
	{"of a socket", "bind p;setx p user.a x;getx p user.a"},
	{"by descriptor", "mk f;open a f rw;fsetx a user.a value;fgetx a user.a;getx f "
			  "user.a;fremx a user.a;getx f user.a"},
	{"by a descriptor for reading", "mk f;open a f r;fsetx a user.a value;fgetx a user.a"},
	{"of a file that is gone",
	 "mk f;setx f user.a value;open a f rw;unlink f;fgetx a user.a;fsetx a user.b x;fgetx a "
	 "user.b;fremx a user.a;fgetx a user.a"},
	{"of a file not to be written", "mk f;chmod f 0400;setx f user.a x;chmod f 0200;getx f "
					"user.a;listx f;chmod f 0;getx f user.a;setx f user.a x"},
	{"they move along", "mk f;setx f user.a value;rename f g;getx g user.a;link g h;getx h "
			    "user.a;mk i;rename i g;getx g user.a;getx h user.a"},
	{"they are not copied",
	 "mk f text;setx f user.a value;open a f r;open b g rw+creat;copy b a 4;getx g user.a"},
	{"lists of a directory's files",
	 "mkdir d;mk d/f;setx d/f user.a 1;setx d user.b 2;listx d/f;listx d"},
	{"POSIX lists", "mk f;getx f system.posix_acl_access;remx f system.posix_acl_access;setx f "
			"system.posix_acl_access x;mkdir d;getx d system.posix_acl_default"},
	{"capabilities", "mk f;getx f security.capability;setx f security.capability x"},
	{"another sees it", "mk f;peer setx f user.a one;getx f user.a;setx f user.a two;peer getx "
			    "f user.a;peer remx f user.a;getx f user.a"},
	{NULL, NULL},
};
