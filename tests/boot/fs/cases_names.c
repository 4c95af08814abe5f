/* Names: long ones, odd ones, links, directories in directories. */
#include "fs.h"

const struct fs_case cases_names[] = {
	{"255 bytes", "mk %255 long;stat %255;cat %255;unlink %255;tree"},
	{"256 bytes", "mk %256;mkdir %256;symlink a %256;stat %256;unlink %256;rename a %256;link "
		      "a %256;mknod %256 fifo"},
	{"255 bytes, each way",
	 "mkdir %255;mkdir %255/%255;mk %255/%255/%255 x;rename %255/%255/%255 %254;rmdir "
	 "%255/%255;rmdir %255;symlink a %253;link %254 %252;tree"},
	{"a long path", "mk f x;stat %.2000f;stat %.2047f;stat %.2048f;mkdir %.2048d"},
	{"a link's text of 4095", "symlink %4095 s;readlink s;lstat s;stat s"},
	{"a link's text of 1000", "symlink %1000 s;readlink s;readlink s 10;lstat s"},
	{"an empty link", "symlink '' s"},
	{"an empty name", "mk '';mkdir '';unlink '';rmdir '';stat '';rename '' x;link '' x;chmod "
			  "'' 0644;readlink ''"},
	{"bytes of all kinds",
	 "mk a\\b\"c' x;mk \001\002\177 y;mk \303\244\377\376 z;tree;cat \303\244\377\376"},
	{"names alike", "mk a 1;mk A 2;mk a. 3;mk .a 4;mk a.. 5;mk ... 6;tree"},
	{"dot", "mkdir .;rmdir .;unlink .;rename . x;link . x;open a . r+dir;open b . w;mk . x"},
	{"dotdot", "mkdir ..;rmdir ..;unlink ..;mkdir d;rename .. x;rename d ..;link .. x;mk .. x"},
	{"dotdot in a path", "mkdir d;mkdir d/e;mk d/f x;cat d/e/../f;cat d/./e/./../../d/f;rename "
			     "d/e/../f d/e/g;tree"},
	{"slashes", "mkdir d/;mkdir e//;mk d//f x;cat d///f;rename d/ g/;rename g// h;rmdir "
		    "h/;unlink h//f;rmdir h/;tree"},
	{"a slash behind a file",
	 "mk f x;stat f/;open a f/ r;open a g/ rw+creat;unlink f/;rename f g/;rename f/ g;link f "
	 "g/;link f/ g;mknod g/ fifo;symlink f g/;tree"},
	{"a slash behind a link",
	 "mkdir d;symlink d s;lstat s/;rmdir s/;mkdir s/;rename s/ x;unlink s/;mk s/f x;tree"},
	{"a slash behind a broken link",
	 "symlink none s;stat s/;mkdir s/;mkdir s;open a s/ rw+creat;tree"},
	{"a file as a directory", "mk f x;stat f/a;mk f/a;mkdir f/a;unlink f/a;rename f f/a;rename "
				  "f/a f;link f f/a;symlink x f/a;tree"},
	{"nothing as a directory", "stat n/a;mk n/a;mkdir n/a;unlink n/a;mk f;rename f n/a;link f "
				   "n/a;symlink x n/a;readlink n/a;trunc n/a 1;chmod n/a 1"},
	{"links in links",
	 "mk f end;symlink f a;symlink a b;symlink b c;cat c;stat c;lstat c;readlink c"},
	{"40 links", "mk l0 end;symlink l0 l1;symlink l1/../l0 x;cat l1;cat x;mkdir d;symlink d "
		     "e;symlink e/../e/../e/../e g;tree g;mk g/f x;tree d"},
	{"loops", "symlink a b;symlink b a;stat a;cat b;open c a r;open c a rw+creat;mkdir a;trunc "
		  "a 1;chmod b 1;access a 4;rename a c;tree;unlink b;tree"},
	{"loops as directories",
	 "symlink a b;symlink b a;stat a/x;mkdir a/x;unlink a/x;rename a/x y;readlink a/x;mk b/x"},
	{"a link to ..", "mkdir d;symlink .. d/up;mk f x;cat d/up/f;mk d/up/g y;tree"},
	{"a link to itself by name",
	 "mkdir d;symlink ../d d/self;mk d/self/self/self/f x;tree;cat d/self/f"},
	{"create through a link",
	 "symlink f s;open a s rw+creat 0600;put a text;tree;open b s rw+creat+excl"},
	{"create through a link into a directory", "mkdir d;symlink d/f s;mk s text;tree;cat d/f"},
	{"a second link",
	 "mk f 1;link f g;stat f;stat g;same f g;mk g 22;cat f;unlink f;stat g;cat g"},
	{"many links", "mk f x;link f a;link f b;link f c;mkdir d;link f d/e;stat f;unlink "
		       "a;rename b d/e;stat f;unlink f;tree"},
	{"a link to a directory", "mkdir d;link d e;link . e;link d d/e"},
	{"a link to a link", "mk f x;symlink f s;link s t;lstat t;link s u follow;lstat u;tree"},
	{"a link across nothing", "mk f;link f d/x;link g x;link f f;mkdir d;link f d;tree"},
	{"a link by descriptor",
	 "open a . rw+tmpfile 0640;put a text;link #a f follow;tree;cat f;stat f"},
	{"a link by descriptor, twice", "open a . rw+tmpfile;put a one;link #a f follow;link #a g "
					"follow;put a two;cat f;cat g;stat f"},
	{"a temporary file that shall stay none",
	 "open a . rw+tmpfile+excl 0600;put a text;sum a;link #a f follow;tree"},
	{"a temporary file",
	 "open a . rw+tmpfile 0600;fstat a;put a text;sum a;seek a set 1;get a 2;close a;tree"},
	{"a temporary file in a directory",
	 "mkdir d;open a d w+tmpfile;put a text;tree;rmdir d;tree"},
	{"a temporary file, read only", "open a . r+tmpfile"},
	{"mkdir and rmdir", "mkdir d;links d;mkdir d/e;links d;mkdir d/f;links d;rmdir d/e;links "
			    "d;rmdir d;rmdir d/f;rmdir d;tree"},
	{"deep", "mkdir 1;mkdir 1/2;mkdir 1/2/3;mkdir 1/2/3/4;mk 1/2/3/4/f x;chdir 1/2/3;cwd;cat "
		 "4/f;rename 4/f ../g;tree ..;chdir ../..;cwd"},
	{"a directory that is left",
	 "mkdir d;chdir d;rmdir ../d;stat .;mk f;mkdir e;tree;cwd;stat ..;chdir ..;cwd"},
	{"a directory that is open when it goes",
	 "mkdir d;open a d r;rmdir d;fstat a;mk a:f;links a:;tree"},
	{"a directory into itself",
	 "mkdir d;mkdir d/e;rename d d/e/f;rename d d/d;rename d/e d;rename d d/e;tree"},
	{"a directory into itself, exchanged",
	 "mkdir d;mkdir d/e;rename d d/e exchange;rename d/e d exchange;tree"},
	{"a directory elsewhere", "mkdir a;mkdir b;mkdir a/c;mk a/c/f x;links a;links b;rename a/c "
				  "b/c;links a;links b;same b/c/.. b;tree"},
	{"a directory, open, elsewhere",
	 "mkdir a;mkdir b;mkdir a/c;open z a/c r;rename a/c b/d;mk z:f x;tree;chdir b/d;cwd"},
	{"moved over what is open",
	 "mk a one;mk b two;open z b rw;rename a b;sum z;cat b;fstat z;put z x 0;sum z;cat b"},
	{"moved while open", "mk a one;open z a rw;rename a b;put z XY;cat b;mkdir d;rename b "
			     "d/c;put z Z;cat d/c;fstat z"},
	{"moved onto itself", "mk a x;rename a a;rename a ./a;mkdir d;rename d d;rename d "
			      "d/;rename a a noreplace;rename a a exchange;tree"},
	{"moved onto its own link", "mk a x;link a b;rename a b;tree;rename a b exchange;tree"},
	{"exchanged", "mk a one;mkdir d;mk d/b two;rename a d/b exchange;cat a;cat d/b;rename a d "
		      "exchange;tree"},
	{"exchanged while open",
	 "mk a one;mk b two;open x a r;open y b r;rename a b exchange;sum x;sum y;cat a;cat b"},
	{"exchanged with nothing", "mk a;rename a b exchange;rename b a exchange;tree"},
	{"not replaced", "mk a one;mk b two;rename a b noreplace;rename a c noreplace;tree;cat c"},
	{"flags that exclude each other", "mk a;mk b;rename a b noreplace+exchange"},
	{"a link is moved, not its file",
	 "mk f x;symlink f s;rename s t;lstat t;rename t f;lstat f;tree"},
	{"unlinked while open", "mk f text;open a f rw;unlink f;fstat a;sum a;put a more 4;sum "
				"a;ftrunc a 2;sum a;fchmod a 0600;fstat a;tree"},
	{"unlinked and made again",
	 "mk f old;open a f rw;unlink f;mk f new;sum a;cat f;put a OLD 0;cat f;fstat a"},
	{"unlinked, and opened again by /proc",
	 "mk f text;open a f r;unlink f;open b #a rw;put b more 4;sum a;open c #a r;sum c"},
	{"unlinked, and linked again", "mk f text;open a f rw;unlink f;link #a g follow;tree"},
	{"removed while listed",
	 "mkdir d;mk d/a;mk d/b;opendir d;next 1;unlink d/a;unlink d/b;rmdir d;tree"},
	{"paths from a directory", "mkdir d;open a d path+dir;mk a:f text;cat a:f;mkdir a:e;rename "
				   "a:f a:e/g;symlink x a:s;readlink a:s;unlink a:s;tree"},
	{"paths from a file", "mk f;open a f r;stat a:x;mk a:x;mkdir a:x;unlink a:x;stat a:"},
	{"paths from what is closed", "mkdir d;open a d r;close a;stat a:x"},
	{"by O_PATH alone", "mk f text;open a f path;get a 3;put a x;fchmod a 0600;ftrunc a 1;seek "
			    "a set 0;fstat a;map a 4096 private ro;sync a full;fgetx a user.x"},
	{"O_PATH of a link",
	 "symlink text s;open a s path+nofollow;readlink a:'';fstat a;open b #a r"},
	{"O_PATH, then opened",
	 "mk f text;open a f path;open b #a rw;put b XX;cat f;unlink f;open c #a r;sum c"},
	{"opened again by /proc", "mk f text;open a f r;open b #a rw;put b XX 1;sum a;open c #a "
				  "w+trunc;sum a;fstat a;open d #a rw+excl"},
	{"opened again, which the mode forbids",
	 "mk f text;open a f rw;chmod f 0;open b #a r;get a 4;put a more;chmod f 0200;open b #a "
	 "w;open c #a r"},
	{"a pipe", "mknod p fifo 0600;open a p r+nonblock;open b p w+nonblock;put b hello;unread "
		   "a;get a 10;close b;get a 10;stat p"},
	{"a pipe between two", "mknod p fifo;later open a p w;open a p r;join;peer put a hello;get "
			       "a 5;peer close a;get a 5"},
	{"a pipe nobody reads",
	 "mknod p fifo;open a p w+nonblock;open a p rw+nonblock;put a x;get a 1"},
	{"a pipe, moved while open", "mknod p fifo;open a p rw+nonblock;rename p q;open b q "
				     "w+nonblock;put b hi;get a 9;unlink q;put b ho;get a 9"},
	{"a socket", "bind s;lstat s;connect s;chmod s 0600;rename s t;connect t;open a t r;unlink "
		     "t;connect t;bind u;bind u;tree"},
	{"a socket's name without anybody", "mknod s sock;lstat s;connect s;unlink s"},
	{"devices", "mknod c chr;mknod b blk;tree"},
	{"mknod of a file", "mknod f reg 0604;stat f;mknod f reg;mk f x;tree"},
	{"exec",
	 "program p;exec p;chmod p 0644;exec p;chmod p 0711;exec p;rename p q;exec q;exec p"},
	{"exec of what is written", "program p;open a p w;exec p;close a;exec p"},
	{"exec of what is no program", "mk f text;chmod f 0755;exec f;mkdir d;exec d;symlink f "
				       "s;exec s;mknod p fifo 0755;exec p"},
	{"exec through links", "program p;symlink p s;exec s;link p q;unlink p;exec q;exec s"},
	{"again and again", "mk f 1;unlink f;mkdir f;rmdir f;symlink x f;unlink f;mknod f "
			    "fifo;unlink f;mk f 2;cat f;stat f;tree"},
	{"looked for before it is there",
	 "stat f;mk f x;stat f;unlink f;stat f;mkdir f;stat f;rmdir f;stat f;cat f"},
	{"another looks", "mk f one;peer cat f;mk f three;peer cat f;peer mk f four;cat f;peer "
			  "unlink f;stat f;peer mkdir f;stat f;peer rename f g;tree"},
	{"another's directory",
	 "mkdir d;peer chdir d;rename d e;peer cwd;peer mk f x;tree;unlink e/f;rmdir e;peer mk g"},
	{NULL, NULL},
};
