/*
 * The modules of a kernel in the source tree where it was built, which depmod(8) has not seen: modules.order lists them, and each
 * file says by itself what it depends on.
 *
 * Owner: the caller. One thread. Nothing is reported.
 */
#pragma once

/* The text of dir's modules.order, to be freed, or NULL if there is none. */
char *modules_tree_list(const char *dir);

/*
 * A line as modules.dep has them, "FILE: FILE...", with what each depends on behind it, for the module of that name; to be freed. NULL
 * when there is no such module, or no memory. list is of modules_tree_list().
 */
char *modules_tree_line(const char *dir, const char *list, const char *name);
