/*
 * Where the program keeps what it can make again (XDG Base Directory Specification). One thread.
 */
#pragma once

#include <stddef.h>

/*
 * Writes to path the directory "vmm" below xdg, or else below ".cache" in home: the values of XDG_CACHE_HOME and HOME, NULL
 * where they are not set. What is no absolute path does not count. Returns path, or NULL where there is none, or a name too
 * long for size bytes.
 */
const char *cache_dir_find(const char *xdg, const char *home, char *path, size_t size);
