#include "vmm/image/image_libs.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#ifdef VMM_HAVE_IMAGES
#if NETTLE_VERSION_MAJOR == 3
#define NETTLE "8"
#else
#define NETTLE "9"
#endif

/* Of the functions' ABI, which the headers describe. */
static const struct {
	const char *name;
	const char *package;
} image_libraries[] = {
	{"libarchive.so.13", "libarchive13"},
	{"libjansson.so.4", "libjansson4"},
	{"libnettle.so." NETTLE, "libnettle" NETTLE},
};

#define N_LIBRARIES (sizeof(image_libraries) / sizeof(image_libraries[0]))

_Static_assert(NETTLE_VERSION_MAJOR == 3 || NETTLE_VERSION_MAJOR == 4,
	       "the library of another ABI has another name");

/* A digit for the library, and the name, in the order of struct image_libs. */
static const char image_functions[] =
#define IMAGE_LIB_ENTRY(library, name) #library #name "\0"
	IMAGE_LIB_FUNCTIONS(IMAGE_LIB_ENTRY);
#undef IMAGE_LIB_ENTRY

static int image_libs_fail(struct image_libs *libs, unsigned int i, struct image_why *why)
{
	image_libs_close(libs);
	return image_fail(why, -ELIBACC, "container images need %s (Debian: apt install %s): %s",
			  image_libraries[i].name, image_libraries[i].package, dlerror());
}

int image_libs_open(struct image_libs *libs, struct image_why *why)
{
	void **to = (void **)(void *)((char *)libs + sizeof(libs->handles));

	*libs = (struct image_libs){0};
	for (unsigned int i = 0; i < N_LIBRARIES; i++) {
		libs->handles[i] = dlopen(image_libraries[i].name, RTLD_NOW | RTLD_LOCAL);
		if (!libs->handles[i])
			return image_libs_fail(libs, i, why);
	}
	for (const char *name = image_functions; *name; name += strlen(name) + 1) {
		unsigned int library = (unsigned int)(name[0] - '0');

		/* POSIX has dlsym() return functions as data; this is its way to write that. */
		*to = dlsym(libs->handles[library], name + 1);
		if (!*to++)
			return image_libs_fail(libs, library, why);
	}
	return 0;
}

void image_libs_close(struct image_libs *libs)
{
	for (unsigned int i = 0; i < N_LIBRARIES; i++) {
		if (libs->handles[i])
			dlclose(libs->handles[i]);
	}
	*libs = (struct image_libs){0};
}

#else

int image_libs_open(struct image_libs *libs, struct image_why *why)
{
	*libs = (struct image_libs){0};
	return image_fail(why, -ELIBACC,
			  "this vmm was built without container images (they need libarchive, "
			  "jansson and nettle, and no static program)");
}

void image_libs_close(struct image_libs *libs)
{
	(void)libs;
}
#endif
int image_libs_check(struct image_why *why)
{
	struct image_libs libs;
	int err = image_libs_open(&libs, why);

	image_libs_close(&libs);
	return err;
}
