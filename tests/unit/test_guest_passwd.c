/* Who a container image's user is. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "guest/passwd.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "# a comment\n"
			     "broken\n"
			     "half:x:\n"
			     "web:x:33:34:Web,,,:/srv/web:/bin/sh\n"
			     "1000:x:5:6::/home/number:/bin/sh\n"
			     "nohome:x:7:8:::\n"
			     "neg:x:-1:0::/:\n"
			     "max:x:4294967295:0::/:\n"
			     "last:x:9:10:no newline behind it:/last:";
static const char group[] = "root:x:0:\n"
			    "www:x:34:\n"
			    "\n"
			    "a:x:100:root,web\n"
			    "b:x:101:webmaster,web,x\n"
			    "c:x:102:webmaster\n"
			    "bad:x:no:web\n"
			    "77:x:200:\n"
			    "d:x:103:web";

static struct passwd_user user;

static enum passwd_answer find(const char *spec)
{
	return passwd_find(spec, passwd, group, &user);
}

START_TEST(names)
{
	ck_assert_int_eq(find("web"), PASSWD_OK);
	ck_assert(user.set);
	ck_assert_uint_eq(user.uid, 33);
	ck_assert_uint_eq(user.gid, 34);
	ck_assert_str_eq(user.name, "web");
	ck_assert_str_eq(user.home, "/srv/web");
	ck_assert_uint_eq(user.n_groups, 4);
	ck_assert_uint_eq(user.groups[0], 34);
	ck_assert_uint_eq(user.groups[1], 100);
	ck_assert_uint_eq(user.groups[2], 101);
	ck_assert_uint_eq(user.groups[3], 103);
	ck_assert_int_eq(find("last"), PASSWD_OK);
	ck_assert_uint_eq(user.uid, 9);
	ck_assert_uint_eq(user.n_groups, 1);
	ck_assert_str_eq(user.home, "/last");
	ck_assert_int_eq(find("nohome"), PASSWD_OK);
	ck_assert_str_eq(user.home, "/");
}
END_TEST

START_TEST(numbers)
{
	/* of a line that has it */
	ck_assert_int_eq(find("33"), PASSWD_OK);
	ck_assert_str_eq(user.name, "web");
	ck_assert_uint_eq(user.gid, 34);
	ck_assert_uint_eq(user.n_groups, 4);
	/* a name comes first, even if it looks like a number */
	ck_assert_int_eq(find("1000"), PASSWD_OK);
	ck_assert_uint_eq(user.uid, 5);
	/* of nobody */
	ck_assert_int_eq(find("4242"), PASSWD_OK);
	ck_assert_uint_eq(user.uid, 4242);
	ck_assert_uint_eq(user.gid, 0);
	ck_assert_str_eq(user.name, "");
	ck_assert_str_eq(user.home, "/");
	ck_assert_uint_eq(user.n_groups, 1);
	ck_assert_int_eq(find("4294967294"), PASSWD_OK);
	ck_assert_uint_eq(user.uid, UINT32_MAX - 1);
}
END_TEST

START_TEST(groups)
{
	ck_assert_int_eq(find("web:a"), PASSWD_OK);
	ck_assert_uint_eq(user.gid, 100);
	ck_assert_uint_eq(user.n_groups, 1);
	ck_assert_int_eq(find("4242:4343"), PASSWD_OK);
	ck_assert_uint_eq(user.uid, 4242);
	ck_assert_uint_eq(user.gid, 4343);
	ck_assert_int_eq(find("web:77"), PASSWD_OK);
	ck_assert_uint_eq(user.gid, 200);
	ck_assert_int_eq(find(":www"), PASSWD_OK);
	ck_assert_uint_eq(user.uid, 0);
	ck_assert_uint_eq(user.gid, 34);
	ck_assert_int_eq(find("web:"), PASSWD_OK);
	ck_assert_uint_eq(user.gid, 34);
}
END_TEST

START_TEST(nobody)
{
	static const char *const none[] = {
		"webb", "we",  "-1",	      "4294967295", "99999999999999999999",
		"neg",	"max", "# a comment", "broken",	    "half",
		" ",	"33 "};

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		ck_assert_msg(find(none[i]) == PASSWD_NO_USER, "'%s' is somebody", none[i]);
	ck_assert_int_eq(find("web:none"), PASSWD_NO_GROUP);
	ck_assert_int_eq(find("web:bad"), PASSWD_NO_GROUP);
	ck_assert_int_eq(find("web:-1"), PASSWD_NO_GROUP);
	/* an image without the files */
	ck_assert_int_eq(passwd_find("web", "", "", &user), PASSWD_NO_USER);
	ck_assert_int_eq(passwd_find("5:6", "", "", &user), PASSWD_OK);
	ck_assert_uint_eq(user.gid, 6);
}
END_TEST

START_TEST(many)
{
	char text[16384];
	size_t len = 0;

	for (unsigned int i = 0; i < 2 * PASSWD_MAX_GROUPS; i++)
		len += (size_t)sprintf(text + len, "g%u:x:%u:web\n", i, i < 34 ? i : i + 1);
	ck_assert_int_eq(passwd_find("web", passwd, text, &user), PASSWD_OK);
	ck_assert_uint_eq(user.n_groups, PASSWD_MAX_GROUPS);
	ck_assert_uint_eq(user.groups[PASSWD_MAX_GROUPS - 1], PASSWD_MAX_GROUPS - 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guest_passwd");
	TCase *tc = tcase_create("users");
	SRunner *runner = srunner_create(s);
	int failed;

	tcase_add_test(tc, names);
	tcase_add_test(tc, numbers);
	tcase_add_test(tc, groups);
	tcase_add_test(tc, nobody);
	tcase_add_test(tc, many);
	suite_add_tcase(s, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
