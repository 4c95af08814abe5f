/* Data: reading and writing, sizes, holes, copies, maps. */
#include "fs.h"

const struct fs_case cases_data[] = {
	{"read at the end", "mk f text;open a f r;get a 10;get a 10;get a 0;get a 4 100;get a 2 3"},
	{"write, read",
	 "open a f rw+creat;put a hello;get a 9;seek a set 0;get a 9;put a XY 1;sum a"},
	{"not to be read", "open a f w+creat;put a x;get a 1;sum a"},
	{"not to be written", "mk f text;open a f r;put a x;ftrunc a 1;falloc a plain 0 10;sum a"},
	{"beyond the end",
	 "open a f rw+creat;put a end 10000;fstat a;get a 20 9990;get a 20 10003;sum a"},
	{"at negative places", "mk f text;open a f rw;get a 1 -1;put a x -1;seek a set -1;seek a "
			       "cur -1;seek a end -5;seek a end -4"},
	{"at the greatest places",
	 "open a f rw+creat;put a x 8796093022208;put a x 9223372036854775807;put a xy "
	 "9223372036854775806;seek a set 9223372036854775807;get a 1;ftrunc a "
	 "9223372036854775807;fstat a"},
	{"seek", "mk f 0123456789;open a f r;seek a set 5;get a 2;seek a cur -3;get a 2;seek a end "
		 "0;get a 2;seek a end -2;get a 5;seek a cur 100;get a 1"},
	{"one megabyte",
	 "open a f rw+creat;fill a 0 1M;sum a;fstat a;get a 4096 524288;get a 100000 77777"},
	{"odd pieces", "open a f rw+creat;fill a 0 4095;fill a 4095 4098;fill a 8193 1;fill a "
		       "100000 131073;sum a;fstat a"},
	{"backwards",
	 "open a f rw+creat;fill a 200000 1000;fill a 100000 1000;fill a 0 1000;sum a;holes a"},
	{"over it again", "open a f rw+creat;fill a 0 300K;put a HERE 4094;put a THERE 131070;sum "
			  "a;get a 10 4090;get a 10 131068"},
	{"buffers", "open a f rw+creat;iov a 0;iov a 4093;sum a;iov a -1"},
	{"two descriptors", "open a f rw+creat;open b f rw;put a one;get b 9;put b two;get a 9;sum "
			    "a;ftrunc b 2;sum a;get a 9;fstat a"},
	{"two of one",
	 "open a f rw+creat;dup b a;put a one;put b two;seek a cur 0;close a;put b three;sum b"},
	{"append", "mk f text;open a f w+append;put a more;put a even;cat f;seek a set 0;put a "
		   "last;cat f;seek a cur 0"},
	{"append from two", "open a f w+creat+append;open b f w+append;put a 1;put b 2;put a 3;put "
			    "b 4;cat f;ftrunc a 2;put b 5;cat f"},
	{"append from two processes",
	 "open a f w+creat+append;peer open b f w+append;put a one;peer put b two;put a three;peer "
	 "put b four;cat f;peer cat f"},
	{"append, at a place", "mk f text;open a f rw+append;put a XX 0;sum a;get a 2 0"},
	{"append set later", "mk f text;open a f rw;setfl a append;put a more;sum a;setfl a r;put "
			     "a XX 0;sum a;flags a"},
	{"append and trunc", "mk f text;open a f w+append+trunc;put a x;cat f"},
	{"trunc on opening",
	 "mk f text;open a f r;open b f w+trunc;fstat a;get a 9;put b new;sum a"},
	{"trunc and excl", "mk f text;open a f w+creat+excl+trunc;cat f"},
	{"truncated to less", "open a f rw+creat;fill a 0 100K;ftrunc a 5000;sum a;fstat a;ftrunc "
			      "a 4096;sum a;ftrunc a 0;sum a"},
	{"truncated to more",
	 "mk f text;open a f rw;ftrunc a 10000;sum a;fstat a;trunc f 1M;fstat a;sum a;sparse a"},
	{"truncated, and zeros behind",
	 "open a f rw+creat;fill a 0 8192;ftrunc a 100;ftrunc a 8192;sum a;get a 20 95"},
	{"truncated under a place", "open a f rw+creat;fill a 0 10000;seek a set 9000;ftrunc a "
				    "10;get a 5;put a x;sum a;fstat a"},
	{"truncated by name", "mk f text;trunc f 2;cat f;trunc f -1;trunc g 1;mkdir d;trunc d "
			      "1;symlink f s;trunc s 1;cat f"},
	{"truncated, not writable", "mk f text;chmod f 0444;trunc f 1;open a f r;ftrunc a 1;cat f"},
	{"truncated while another has it", "mk f 0123456789;peer open a f r;peer get a 3;trunc f "
					   "5;peer get a 9;trunc f 8;peer get a 9;peer fstat a"},
	{"files above 4 GiB",
	 "open a f rw+creat;put a end 5000000000;fstat a;get a 9 4999999998;get a 4 "
	 "4294967294;sparse a;seek a data 0;seek a hole 5000000003"},
	{"at 4 GiB",
	 "open a f rw+creat;put a 01234567 4294967292;get a 8 4294967292;get a 4 4294967294;fstat "
	 "a;ftrunc a 4294967296;fstat a;ftrunc a 4294967295;get a 9 4294967290"},
	{"at 2 GiB", "open a f rw+creat;put a 01234567 2147483644;get a 8 2147483644;ftrunc a "
		     "2147483648;fstat a"},
	{"holes",
	 "open a f rw+creat;fill a 1M 4096;fill a 3M 4096;ftrunc a 5M;holes a;sparse a;fstat a"},
	{"holes by seek", "open a f rw+creat;fill a 1M 4096;ftrunc a 2M;seek a data 0;seek a hole "
			  "0;seek a data 1050000;seek a hole 1050000;seek a data 1052672;seek a "
			  "hole 1052672;seek a data 2M;seek a hole 2M;seek a data -1"},
	{"no holes", "open a f rw+creat;fill a 0 64K;holes a;seek a hole 0;seek a data 0;seek a "
		     "hole 65535;seek a hole 65536"},
	{"holes of an empty file", "open a f rw+creat;seek a data 0;seek a hole 0;ftrunc a "
				   "4096;seek a data 0;seek a hole 0;holes a"},
	{"holes filled",
	 "open a f rw+creat;ftrunc a 1M;fill a 512K 4096;holes a;fill a 0 512K;holes a;sum a"},
	{"fallocate", "open a f rw+creat;falloc a plain 0 100000;fstat a;sum a;sparse a;falloc a "
		      "plain 50000 100000;fstat a"},
	{"fallocate, size kept",
	 "mk f text;open a f rw;falloc a keep 0 100000;fstat a;sum a;put a more 4;sum a"},
	{"a hole punched", "open a f rw+creat;fill a 0 64K;falloc a punch+keep 8192 16384;sum "
			   "a;holes a;fstat a;falloc a punch 0 4096"},
	{"a hole punched, odd", "open a f rw+creat;fill a 0 64K;falloc a punch+keep 5000 10000;sum "
				"a;get a 10 4995;get a 10 14995"},
	{"a hole punched beyond the end",
	 "open a f rw+creat;fill a 0 10000;falloc a punch+keep 8000 100000;fstat a;sum a"},
	{"zeros", "open a f rw+creat;fill a 0 64K;falloc a zero 4096 8192;sum a;falloc a zero "
		  "60000 10000;fstat a;sum a;falloc a zero+keep 70000 50000;fstat a"},
	{"collapse and insert", "open a f rw+creat;fill a 0 64K;falloc a collapse 4096 8192;fstat "
				"a;sum a;falloc a insert 4096 8192;fstat a;sum a"},
	{"collapse and insert, odd",
	 "open a f rw+creat;fill a 0 64K;falloc a collapse 100 8192;falloc a insert 100 "
	 "8192;falloc a collapse 0 64K;falloc a collapse+keep 0 4096;fstat a"},
	{"fallocate, errors",
	 "mk f text;open a f rw;falloc a plain -1 10;falloc a plain 0 0;falloc a plain 0 -5;open b "
	 "f r;falloc b plain 0 10;mkdir d;open c d r;falloc c plain 0 10;falloc a punch 0 10"},
	{"fallocate of too much", "open a f rw+creat;falloc a plain 0 8070450532247928832;falloc a "
				  "plain 9223372036854775807 1;fstat a"},
	{"copied", "open a f rw+creat;fill a 0 200K;open b g rw+creat;copy b a 200K;sum b;fstat "
		   "b;seek a cur 0;seek b cur 0"},
	{"copied in parts", "open a f rw+creat;fill a 0 100K;open b g rw+creat;copy b a 50000 10 "
			    "20000;sum b;fstat b;copy b a 1M 0 90000;fstat b;sum b"},
	{"copied within a file", "open a f rw+creat;fill a 0 100K;open b f rw;copy b a 10000 50000 "
				 "0;sum a;copy b a 10000 5000 0;fstat a"},
	{"copied beyond the end", "mk f text;open a f r;open b g rw+creat;copy b a 100 0 2;sum "
				  "b;copy b a 100 0 4;copy b a 100 0 100;sum b"},
	{"copied to what may not be written",
	 "mk f text;mk g other;open a f r;open b g r;copy b a 4;open c g w+append;copy c a 4;open "
	 "d f w;open e g rw;copy e d 4"},
	{"copied from a directory", "mkdir d;open a d r;open b g rw+creat;copy b a 4;mknod p "
				    "fifo;open c p rw;copy b c 4;copy c b 4"},
	{"copied holes", "open a f rw+creat;fill a 1M 4096;ftrunc a 2M;open b g rw+creat;copy b a "
			 "2M;fstat b;sum b"},
	{"sendfile", "open a f rw+creat;fill a 0 100K;open b g rw+creat;seek a set 1000;sendfile b "
		     "a 50000;sum b;seek a cur 0;sendfile b a 1M;fstat b"},
	{"splice", "open a f rw+creat;fill a 0 100K;open b g rw+creat;splice b a;splice b a;sum "
		   "b;seek a cur 0"},
	{"synced", "open a f rw+creat;put a text;sync a full;sync a data;sync a range;sync a "
		   "fs;sum a;mkdir d;open b d r;sync b full;sync b data"},
	{"written at once", "open a f rw+creat+sync;put a text;fill a 4 10000;sum a"},
	{"opened noatime", "mk f text;open a f r+noatime;get a 4"},
	{"a map, read", "open a f rw+creat;fill a 0 20000;map a 20480 shared ro;peek a 0 4096;peek "
			"a 19000 1000;peek a 20000 480"},
	{"a map, written", "open a f rw+creat;ftrunc a 8192;map a 8192 shared;poke a 100 "
			   "hello;peek a 98 10;msync a;get a 10 98;sum a;poke a 8000 there;unmap "
			   "a;sync a full;get a 5 8000;peer get a 5 8000"},
	{"a map and a write", "open a f rw+creat;fill a 0 8192;map a 8192 shared;put a HERE "
			      "50;peek a 48 8;poke a 4096 THERE;get a 8 4094"},
	{"a private map", "mk f 0123456789;open a f rw;map a 4096 private;poke a 2 XY;peek a 0 "
			  "10;sum a;put a Z 9;peek a 0 2;cat f"},
	{"a private map of what may be read only",
	 "mk f 0123456789;open a f r;map a 4096 private;poke a 2 XY;peek a 0 10;cat f;map a 4096 "
	 "shared"},
	{"a map of what may be written only",
	 "open a f w+creat;put a x;map a 4096 shared;map a 4096 private ro"},
	{"a map beyond the end",
	 "mk f text;open a f rw;map a 12288 shared;peek a 4 10;beyond a 5000;ftrunc a 8192;beyond "
	 "a 5000;ftrunc a 4;beyond a 5000;unmap a"},
	{"a map of a file that goes", "open a f rw+creat;fill a 0 8192;map a 8192 shared;close "
				      "a;unlink f;peek a 4000 100;poke a 0 X;peek a 0 8;unmap a"},
	{"a map that is truncated",
	 "open a f rw+creat;fill a 0 8192;map a 8192 shared;peek a 5000 8;trunc f 100;beyond a "
	 "5000;trunc f 8192;peek a 5000 8;peek a 90 20"},
	{"a map, written by two",
	 "open a f rw+creat;ftrunc a 4096;map a 4096 shared;peer map a 4096 shared;poke a 0 "
	 "one;peer peek a 0 3;peer poke a 10 two;peek a 10 3;msync a;cat f"},
	{"a map of a directory", "mkdir d;open a d r;map a 4096 private ro"},
	{"a map, then append",
	 "mk f text;open a f rw+append;map a 4096 shared;put a more;peek a 0 8;poke a 0 T;cat f"},
	{"a map over a hole", "open a f rw+creat;ftrunc a 1M;map a 1M shared;peek a 500000 8;poke "
			      "a 500000 data;msync a;unmap a;sync a full;get a 4 500000;holes a"},
	{"a directory as a file", "mkdir d;open a d r;get a 10;put a x;ftrunc a 1;seek a set "
				  "0;open b d w;open b d rw;open b d r+trunc;open b d w+append"},
	{"O_DIRECT",
	 "open a f rw+creat;fill a 0 64K;sync a full;open b f r+direct;get b 3 1;sum a"},
	{"setuid goes by writing", "mk f text;chmod f 06755;stat f;open a f w;put a x;stat f"},
	{"setuid goes by truncating", "mk f text;chmod f 06755;trunc f 1;stat f"},
	{"setuid goes by an owner", "mk f text;chmod f 06755;chown f me me;stat f"},
	{"written after the mode forbids it",
	 "open a f rw+creat 0600;fchmod a 0;put a text;seek a set 0;get a 4;ftrunc a 2;fstat a"},
	{"made with a mode that forbids it",
	 "open a f rw+creat 0;put a text;sum a;fstat a;open b f r;unlink f"},
	{"made with a mode that forbids writing",
	 "open a f w+creat+excl 0444;put a text;cat f;open b f w;stat f"},
	{"a write of nothing", "mk f text;mark f a;open a f w;put a '';moved f a;cat f"},
	{"another reads what was written", "open a f rw+creat;put a one;peer cat f;put a two;peer "
					   "cat f;ftrunc a 1;peer cat f;fill a 0 100K;peer cat f"},
	{"another writes", "mk f one;open a f r;sum a;peer open b f w;peer put b TWO!;sum a;fstat "
			   "a;peer ftrunc b 2;sum a;peer close b;unlink f;sum a"},
	{NULL, NULL},
};
