/* vmm/cli: what was meant by a mistyped word, and texts as JSON. */
#include "tests/unit/options_fixture.h"

#include "vmm/cli/json.h"
#include "vmm/cli/suggest.h"

static const struct {
	const char *typed;
	const char *meant; /* NULL: nobody knows */
} words[] = {
	{"--memroy", "memory"},
	{"--mem", "memory"},
	{"--memory=x", "memory"},
	{"memmory", "memory"},
	{"--cpu=2", "cpus"},
	{"-kernel", "kernel"},
	{"--kernal", "kernel"},
	{"kern", "kernel"},
	{"--kernl-cach", "kernel-cache"},
	{"--nte", "net"},
	{"--kernel-cache-x", "kernel-cache"},
	{"--frobnicate", NULL},
	{"--x", NULL},
	{"--", NULL},
	{"", NULL},
	{"--ne", "net"},
	{"--abc", NULL},
	{"a word that is longer than any name of ours", NULL},
};

START_TEST(suggests)
{
	static const char *const names[] = {"kernel", "memory", "cpus", "net", "kernel-cache"};
	struct suggestion s = suggest_begin(words[_i].typed);

	for (size_t i = 0; i < COUNT(names); i++)
		suggest_try(&s, names[i]);
	if (words[_i].meant)
		ck_assert_msg(s.name && strcmp(s.name, words[_i].meant) == 0,
			      "'%s': '%s', not '%s'", words[_i].typed, s.name ? s.name : "(none)",
			      words[_i].meant);
	else
		ck_assert_msg(!s.name, "'%s': '%s'", words[_i].typed, s.name);
}
END_TEST

START_TEST(says_what_was_meant)
{
	REFUSED("unknown option '--memroy'; did you mean --memory? See vmm --help", "--memroy",
		"1G");
	REFUSED("unknown argument 'docter'; did you mean doctor?", "docter");
	REFUSED("unknown argument 'memory'; did you mean --memory?", "memory");
	REFUSED("unknown option '--frobnicate'; see vmm --help", "--frobnicate");
}
END_TEST

static const struct {
	const char *text, *json;
} strings[] = {
	{"", "\"\""},
	{"a 'b' /c", "\"a 'b' /c\""},
	{"say \"x\\y\"", "\"say \\\"x\\\\y\\\"\""},
	{"a\nb\t\x01\x7f", "\"a\\u000ab\\u0009\\u0001\\u007f\""},
	{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
	{"\xff-\xc3", "\"\\ufffd-\\ufffd\""},
	{"\xc0\xaf\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\""},
	{"\xe2\x82", "\"\\ufffd\\ufffd\""},
	{"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
};

START_TEST(escapes)
{
	char *out;
	size_t size;
	FILE *file = open_memstream(&out, &size);

	json_string(file, strings[_i].text);
	fclose(file);
	ck_assert_str_eq(out, strings[_i].json);
	free(out);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli/words");
	TCase *tc = tcase_create("words");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, suggests, 0, COUNT(words));
	tcase_add_test(tc, says_what_was_meant);
	tcase_add_loop_test(tc, escapes, 0, COUNT(strings));
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
